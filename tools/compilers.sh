#!/bin/sh
# compilers.sh: end with 1, and say what is missing, unless C and C++ can be compiled here.
set -eu
fail() {
    echo "A C and a C++ compiler are needed ($1 does not work): gcc and g++, or clang." >&2
    echo "Debian and Ubuntu: apt-get install g++; Fedora: dnf install gcc-c++; macOS: xcode-select --install" >&2
    exit 1
}
# A compiler without the headers of its library is no use either.
echo '#include <stdlib.h>' | ${CC:-cc} -x c -fsyntax-only - 2>/dev/null || fail "${CC:-cc}"
echo '#include <thread>' | ${CXX:-c++} -x c++ -fsyntax-only - 2>/dev/null || fail "${CXX:-c++}"
