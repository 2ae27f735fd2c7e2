# Sourced by what makes a distribution's package, in a clone: its sources as one archive. POSIX sh.

make_sources() {   # make_sources DIRECTORY: the tree in it and, beside that, the archive; the same for the same files
  release=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' plancton/__init__.py)
  version=$(say "$release" | sed 's/\.\{0,1\}\(dev\|a\|b\|rc\)/~\1/')   # as dpkg and rpm write what comes before it
  name=plancton-$version
  mkdir "$1/$name"
  # Without __pycache__: tests beside this one write there.
  tar -c --exclude=__pycache__ CHANGELOG.md LICENSE MANIFEST.in README.md csrc docs examples plancton pyproject.toml scripts \
    setup.py tests | tar -x -C "$1/$name"
  find "$1/$name" \( -name '*.so' -o -name '_sampler.c' -o -name '_owner_load.c' -o -name '.*_cache' \
    -o -name '*.egg-info' \) -prune -exec rm -r {} +
  date=${SOURCE_DATE_EPOCH:-$(find CHANGELOG.md plancton csrc -type f -printf '%Ts\n' | sort -n | tail -n 1)}
  tar -C "$1" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$date" -cJf "$1/$name.tar.xz" "$name"
}
