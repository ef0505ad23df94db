#!/usr/bin/env bash
# Unpacks Debian packages into a folder, without installing them: unpack-system.sh FOLDER PACKAGE...
#
# A machine that tests is not to get another kernel, and no daemon that starts by itself. Of a package that only names
# others (linux-image-amd64), the one that it depends on first is taken. What is there already is not fetched again.
set -euo pipefail

mkdir -p "$1"
folder=$(cd "$1" && pwd)
shift
[[ $(cat "$folder/packages" 2>/dev/null) != "$*" ]] || exit 0

# Gives the package that has the files.
real() {
  case $1 in
    linux-image-*) apt-cache depends --important "$1" | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -1 ;;
    *) echo "$1" ;;
  esac
}

if ! apt-cache show "$@" >/dev/null 2>&1; then
  # Lists of packages may never have been fetched here.
  apt-get update -qq
fi
debs=$(mktemp -d)
trap 'rm -rf "$debs"' EXIT
rm -rf "$folder/root"
for package in "$@"; do
  (cd "$debs" && apt-get -o APT::Sandbox::User=root download -qq "$(real "$package")")
done
for deb in "$debs"/*.deb; do
  dpkg-deb --extract "$deb" "$folder/root"
done
for kernel in "$folder"/root/lib/modules/*; do
  [[ ! -d $kernel ]] || PATH=$PATH:/sbin:/usr/sbin depmod --basedir "$folder/root" "${kernel##*/}"
done
echo "$*" >"$folder/packages"
