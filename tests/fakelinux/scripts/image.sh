# image.sh VMLINUX VERSION: a file with the boot protocol's magic, release and a digest of VMLINUX.
# Setup header at 0x1f1, magic "HdrS" at 0x202, pointer to the version string (- 0x200) at 0x20e.
head -c 514 /dev/zero
printf 'HdrS\000\002'
head -c 6 /dev/zero
printf '\000\001'
head -c 240 /dev/zero
printf '%s\000' "$2"
sha256sum "$1" | cut -d' ' -f1
