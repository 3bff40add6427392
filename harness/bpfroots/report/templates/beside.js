// Any two texts of one kind on this page, lines that are the same on both sides next to each other.
(() => {
  "use strict";
  const section = document.getElementById("beside");
  const form = section.querySelector("form");
  const context = 3;

  const lines = (element) => {
    const text = (pre) => pre.textContent.replace(/\n$/, "").split("\n");
    if (element.tagName === "PRE") return text(element);
    const shown = element.dataset.above ? document.getElementById(element.dataset.above) : element;
    const head = `; ${element.querySelector(".symbol").textContent}`;
    return [head, ...text(shown.querySelector("pre"))];
  };

  const texts = new Map();
  for (const element of document.querySelectorAll("[data-what]")) {
    const { what, of } = element.dataset;
    if (!texts.has(what)) texts.set(what, new Map());
    const found = texts.get(what);
    found.set(of, [...(found.get(of) ?? []), ...lines(element)]);
  }
  for (const [what, found] of texts) if (found.size < 2) texts.delete(what);
  if (!texts.size) return;

  // What two lines are compared by: without their place in the program, ids, times and addresses.
  const rules = variable.map(([pattern, word]) => [new RegExp(pattern, "gm"), word]);
  const place = {
    "JIT code": /^[0-9a-f]+ /,
    "translated program": /^\s*\d+: /,
    "verifier log": /^(from \d+ to )?\d+: /,
  };
  const branch = new RegExp(local);
  const key = (what, line) =>
    rules.reduce((text, [pattern, word]) => text.replace(pattern, word), line.replace(place[what], "")).replace(branch, "$1");

  // Longest common subsequence, after what both begin and end with: texts have 1,500 lines at most.
  const align = (a, b) => {
    let head = 0;
    while (head < a.length && head < b.length && a[head] === b[head]) head++;
    let tail = 0;
    while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail)) tail++;
    const rows = a.length - head - tail;
    const columns = b.length - head - tail;
    const width = columns + 1;
    const length = new Uint16Array((rows + 1) * width);
    for (let i = rows - 1; i >= 0; i--) {
      for (let j = columns - 1; j >= 0; j--) {
        length[i * width + j] = a[head + i] === b[head + j]
          ? length[(i + 1) * width + j + 1] + 1
          : Math.max(length[(i + 1) * width + j], length[i * width + j + 1]);
      }
    }
    const pairs = [];
    for (let i = 0; i < head; i++) pairs.push([i, i]);
    let i = 0;
    let j = 0;
    while (i < rows || j < columns) {
      if (i < rows && j < columns && a[head + i] === b[head + j]) pairs.push([head + i++, head + j++]);
      else if (j >= columns || (i < rows && length[(i + 1) * width + j] >= length[i * width + j + 1])) pairs.push([head + i++, null]);
      else pairs.push([null, head + j++]);
    }
    for (let n = tail; n > 0; n--) pairs.push([a.length - n, b.length - n]);
    return pairs;
  };

  // A run of lines of one side, then one of the other, is lines that were changed: beside each other.
  const beside = (pairs) => {
    const rows = [];
    for (let at = 0; at < pairs.length;) {
      const left = [];
      const right = [];
      for (; at < pairs.length && (pairs[at][0] === null || pairs[at][1] === null); at++) {
        if (pairs[at][1] === null) left.push(pairs[at][0]); else right.push(pairs[at][1]);
      }
      for (let n = 0; n < Math.max(left.length, right.length); n++) rows.push([left[n] ?? null, right[n] ?? null, false]);
      if (at < pairs.length) rows.push([...pairs[at++], true]);
    }
    return rows;
  };

  const cell = (text, changed) => {
    const td = document.createElement("td");
    td.textContent = text ?? "";
    if (text === undefined) td.className = "none";
    else if (changed) td.className = "changed";
    return td;
  };

  const show = () => {
    const what = form.what.value;
    const [a, b] = [form.a, form.b].map((select) => texts.get(what).get(select.value));
    // Where a jump within an image leads shifts with each line before it; the page marks those that lead elsewhere.
    const [left, right] = [a, b].map((side) => side.map((line) => key(what, line)));
    const rows = beside(align(left, right));
    const changed = rows.filter(([, , same]) => !same).length;
    const body = section.querySelector("tbody");
    body.replaceChildren();
    const near = rows.map((_, n) => rows.slice(Math.max(0, n - context), n + context + 1).some(([, , same]) => !same));
    let fold = null;
    rows.forEach(([i, j, same], n) => {
      const tr = document.createElement("tr");
      tr.append(cell(i === null ? undefined : a[i], !same), cell(j === null ? undefined : b[j], !same));
      if (near[n]) {
        fold = null;
      } else {
        if (!fold) {
          fold = { hidden: [], row: document.createElement("tr") };
          const button = document.createElement("button");
          button.type = "button";
          const td = document.createElement("td");
          td.colSpan = 2;
          td.append(button);
          fold.row.append(td);
          fold.row.className = "fold";
          const { hidden, row } = fold;
          button.addEventListener("click", () => { hidden.forEach((line) => { line.hidden = false; }); row.remove(); });
          body.append(fold.row);
        }
        tr.hidden = true;
        fold.hidden.push(tr);
        fold.row.querySelector("button").textContent = `${fold.hidden.length} equal lines`;
      }
      body.append(tr);
    });
    section.querySelector("output").textContent = changed ? `${changed} ${changed === 1 ? "line differs" : "lines differ"}` : "equal";
  };

  const options = (select, names, chosen) => {
    select.replaceChildren(...names.map((name) => new Option(name)));
    if (names.includes(chosen)) select.value = chosen;
  };
  const sides = () => {
    const names = [...texts.get(form.what.value).keys()];
    // At first a program alone against itself in a shared load; then whatever was chosen, if it is there.
    const copy = names.find((name) => name.startsWith("duplicate"));
    const shared = names.find((name) => /^(multi_root|fd_name)/.test(name));
    options(form.a, names, form.a.value || copy || names[0]);
    options(form.b, names, form.b.value || shared || names[1]);
    show();
  };
  options(form.what, [...texts.keys()].sort(), "JIT code");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.what.addEventListener("change", sides);
  form.a.addEventListener("change", show);
  form.b.addEventListener("change", show);
  section.hidden = false;
  sides();
})();
