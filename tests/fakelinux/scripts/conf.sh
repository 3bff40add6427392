# conf.sh tiny|old SRCTREE: writes a .config. Symbols are in Kconfig as blocks
# "config NAME" with at most one "depends on OTHER"; one without a prompt has its default.
wish=/dev/null
[ "$1" = old ] && { wish=$(mktemp); cat > "$wish"; trap 'rm -f "$wish"' EXIT; }
awk '
    FILENAME == ARGV[1] { if (match($0, /^CONFIG_[A-Z0-9_]+=/)) { n = substr($0, 8, RLENGTH - 8); want[n] = substr($0, RLENGTH + 1) }
        else if ($0 ~ /^# CONFIG_.* is not set$/) { sub(/^CONFIG_/, "", $2); want[$2] = "n" }; next }
    $1 == "config" { name = $2; order[++count] = name }
    $1 == "depends" { depends[name] = $3 }
    $1 == "bool" { prompt[name] = NF > 1 }
    $1 == "default" { default_[name] = $2 }
    END { for (i = 1; i <= count; i++) { n = order[i]; v = default_[n] ? default_[n] : "n"
        if (prompt[n] && want[n]) v = want[n]
        if (depends[n] && value[depends[n]] != "y") v = "n"
        value[n] = v
        print v == "n" ? "# CONFIG_" n " is not set" : "CONFIG_" n "=" v } }' "$wish" "$2/Kconfig"
