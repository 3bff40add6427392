"use strict";
// Sorts and filters the table of cases. The state lives in the address, so that it can be sent as a link.
(() => {
  const form = document.getElementById("filter");
  const body = document.querySelector("#cases tbody");
  const heads = [...document.querySelectorAll("#cases th")];
  const rows = [...body.rows].map((row, index) => ({
    row,
    index,
    text: `${row.textContent} ${row.dataset.text}`.toLowerCase(),
  }));
  // Laying out thousands of rows takes a second; a screen has place for fifty.
  const step = 300;
  let sorted = "";
  let most = step;

  const more = document.getElementById("more");
  const show = (count) => { most = count; filter(); };

  const filter = () => {
    const words = form.q.value.toLowerCase().split(/\s+/).filter(Boolean);
    const exact = ["kernel", "mechanism", "verdict"].filter((name) => form[name]?.value);
    let shown = 0;
    let last = "";
    for (const { row, text } of rows) {
      const hit = exact.every((name) => row.dataset[name] === form[name].value) &&
        (!form.type.value || row.dataset.types.split(" + ").includes(form.type.value)) &&
        words.every((word) => text.includes(word));
      shown += hit;
      row.hidden = !hit || shown > most;
      if (row.hidden) continue;
      const name = row.cells[0].textContent;
      row.classList.toggle("first", name !== last);
      last = name;
    }
    document.getElementById("count").textContent = shown === rows.length ? "" : `${shown} of ${rows.length}`;
    more.hidden = shown <= most;
    more.querySelector("button").textContent = `${shown - most} more`;
  };

  const sort = () => {
    const down = sorted.startsWith("-");
    const column = heads.findIndex((head) => head.dataset.key === sorted.replace(/^-/, ""));
    heads.forEach((head, index) => {
      if (index === column) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    if (column < 0) {
      rows.sort((a, b) => a.index - b.index);
    } else {
      const numeric = "number" in heads[column].dataset;
      const value = ({ row }) => {
        const cell = row.cells[column];
        if (!numeric) return cell.textContent;
        return cell.dataset.value === "" ? NaN : Number(cell.dataset.value);
      };
      const keyed = rows.map((entry) => [value(entry), entry]);
      keyed.sort(([a, x], [b, y]) => {
        // Cells without a figure come last in either direction.
        if (numeric && (Number.isNaN(a) || Number.isNaN(b))) return Number.isNaN(a) - Number.isNaN(b) || x.index - y.index;
        const order = numeric ? a - b : a.localeCompare(b);
        return (down ? -order : order) || x.index - y.index;
      });
      keyed.forEach(([, entry], index) => { rows[index] = entry; });
    }
    body.append(...rows.map(({ row }) => row));
  };

  const save = () => {
    const state = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
    if (sorted) state.set("sort", sorted);
    history.replaceState(null, "", `#${state}`);
  };

  const load = () => {
    const state = new URLSearchParams(location.hash.slice(1));
    for (const field of form.elements) if (field.name) field.value = state.get(field.name) ?? "";
    sorted = state.get("sort") ?? "";
    sort();
    filter();
  };

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => { show(step); save(); });
  heads.forEach((head) => head.querySelector("button").addEventListener("click", () => {
    const key = head.dataset.key;
    sorted = sorted === key ? `-${key}` : sorted === `-${key}` ? "" : key;
    sort();
    filter();
    save();
  }));
  more.querySelector("button").addEventListener("click", () => show(most + step));
  new IntersectionObserver(([seen]) => { if (seen.isIntersecting) show(most + step); }).observe(more);
  window.addEventListener("beforeprint", () => show(Infinity));

  // The shown row after (1) or before (-1) another; the first without one.
  const beside = (row, by) => {
    let next = row ? row[by > 0 ? "nextElementSibling" : "previousElementSibling"] : body.rows[0];
    while (next?.hidden) next = by > 0 ? next.nextElementSibling : next.previousElementSibling;
    return next;
  };
  const moves = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 };
  window.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const { key, target } = event;
    const typing = target.closest("input, select");
    const by = moves[key];
    const row = target.closest("#cases tbody tr");
    let focus = null;
    if (key === "/" && !typing) {
      focus = form.q;
    } else if (typing ? target === form.q && key === "ArrowDown" : by && (row || !key.startsWith("Arrow"))) {
      // Without a row, arrows are for the page.
      let next = beside(row, by);
      if (!next && by > 0 && !more.hidden) {
        show(most + step);
        next = beside(row, by);
      }
      focus = next ? next.querySelector("a.case") : by < 0 ? form.q : null;
    }
    if (!focus) return;
    event.preventDefault();
    focus.focus();
  });
  window.addEventListener("hashchange", load);
  load();
})();
