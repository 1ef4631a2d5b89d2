#!/bin/sh
# root.sh ARCH ROOT PACKAGE...: unpacks Debian packages of another architecture, and what they depend on, into ROOT.
# Nothing of them is run. The sources are those of this machine's apt, and its own state is left alone.
set -eu
arch=$1 root=$(realpath -m "$2")
shift 2
state=$root.apt
rm -rf "$root" "$state"
mkdir -p "$root" "$state/lists/partial" "$state/cache/archives/partial" "$state/parts"
: > "$state/status"
: > "$state/sources.list"
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
  # Without the options in brackets, which may name this machine's architecture only.
  if [ -f "$file" ]; then sed -E '/^deb-src/d; s/^deb +\[[^]]*\] +/deb [trusted=yes] /' "$file" >> "$state/sources.list"; fi
done
for file in /etc/apt/sources.list.d/*.sources; do
  if [ -f "$file" ]; then sed '/^Architectures:/d' "$file" > "$state/parts/$(basename "$file")"; fi
done
fetch() {
  apt-get -qq -o APT::Architecture="$arch" -o APT::Architectures::="$arch" -o APT::Install-Recommends=false \
    -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none -o Debug::NoLocking=true -o Dir::State="$state" \
    -o Dir::State::lists="$state/lists" -o Dir::State::status="$state/status" -o Dir::Cache="$state/cache" \
    -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts="$state/parts" "$@"
}
fetch update || echo "root.sh: some package lists failed, going on with the others" >&2
fetch install -y --download-only "$@"
for folder in bin sbin lib; do
  mkdir -p "$root/usr/$folder"
  ln -sfn "usr/$folder" "$root/$folder"
done
for package in "$state"/cache/archives/*.deb; do
  dpkg-deb --fsys-tarfile "$package" | tar -x -C "$root" --keep-directory-symlink
done
rm -rf "$state"
