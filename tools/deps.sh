#!/bin/sh
# Installs what fci needs to build: a C++20 compiler, make and the libraries.
# Plain POSIX sh, so that it runs on a system that has nothing yet.
set -u

usage() {
    cat <<'USAGE'
usage: tools/deps.sh [--check]

Installs what is missing for building and testing fci: make, a C++20 compiler,
OpenBLAS, fmt, CLI11, toml++, simdjson, Catch2. Does nothing if all is installed.
Knows apt (Debian, Ubuntu), dnf (Fedora), pacman (Arch) and Homebrew.

  --check    only report; exit 1 if something is missing
  --help     this text

The search for what is installed uses CXX, CPPFLAGS and LDFLAGS.
USAGE
}

say() { printf 'deps: %s\n' "$*"; }
die() { printf 'deps: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

check_only=0
for arg in "$@"; do
    case $arg in
        --check) check_only=1 ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
done

everything='compiler make openblas fmt cli11 tomlplusplus simdjson catch2'
cxx=${CXX:-g++} # what make uses by default
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

# --- what is there --------------------------------------------------------

# Fedora and Arch keep cblas.h in a separate folder; Homebrew keeps everything
# outside the compiler's search path, and OpenBLAS outside even its own.
cppflags=${CPPFLAGS:-}
ldflags=${LDFLAGS:-}
look_in() { # ROOT: adds its include/ and lib/ if they exist
    [ ! -d "$1/include" ] || cppflags="$cppflags -I$1/include"
    [ ! -d "$1/lib" ] || ldflags="$ldflags -L$1/lib"
}
search_paths() {
    cppflags=${CPPFLAGS:-}
    ldflags=${LDFLAGS:-}
    [ ! -d /usr/include/openblas ] || cppflags="$cppflags -I/usr/include/openblas"
    if have brew; then
        brew_root=$(brew --prefix)
        look_in "$brew_root"
        look_in "$brew_root/opt/openblas"
    fi
}

# Unquoted on purpose, here and below: $cxx and the flags are word lists.
# shellcheck disable=SC2086
compile() { $cxx -std=c++20 $cppflags "$@" >/dev/null 2>&1; }

# shellcheck disable=SC2086
link_with() { compile -o "$tmp/a.out" "$tmp/link.cpp" $ldflags "$@"; }

# Sets $missing to a subset of $everything. The compiler is asked rather than the
# package database: libraries installed by other means count as well.
find_missing() {
    search_paths
    missing=
    have make || missing="$missing make"

    # __cplusplus tells a real C++20 compiler from one with a draft of it; the
    # headers detect a compiler whose standard library is missing or too old.
    cat >"$tmp/cxx20.cpp" <<'SRC'
#include <bit>
#include <concepts>
#include <span>
#include <vector>
#if __cplusplus < 202002L
#error not C++20
#endif
template <std::integral T> int width(T x) { return std::bit_width(static_cast<unsigned>(x)); }
int main() { std::vector<int> v{1}; std::span<int> s(v); return width(s[0]) - 1; }
SRC
    if ! compile -o "$tmp/a.out" "$tmp/cxx20.cpp"; then
        # Without a compiler the libraries cannot be checked: ask for all of them;
        # the package manager skips those that are installed.
        missing="compiler$missing openblas fmt cli11 tomlplusplus simdjson catch2"
        return
    fi

    # All the headers in one run of the preprocessor.
    cat >"$tmp/headers.cpp" <<'SRC'
#if !__has_include(<cblas.h>)
missing openblas
#endif
#if !__has_include(<fmt/format.h>)
missing fmt
#endif
#if !__has_include(<CLI/CLI.hpp>)
missing cli11
#endif
#if !__has_include(<toml++/toml.h>) && !__has_include(<toml++/toml.hpp>)
missing tomlplusplus
#endif
#if !__has_include(<simdjson.h>)
missing simdjson
#endif
#if !__has_include(<catch2/catch.hpp>) && !__has_include(<catch2/catch_all.hpp>)
missing catch2
#endif
SRC
    # shellcheck disable=SC2086
    no_header=$($cxx -std=c++20 $cppflags -E -P "$tmp/headers.cpp" 2>/dev/null | sed -n 's/^missing //p')
    for item in $no_header; do missing="$missing $item"; done

    # A header without its library is a runtime package only, or a broken install.
    # dsyev_: an OpenBLAS built without LAPACK is not enough.
    cat >"$tmp/link.cpp" <<'SRC'
extern "C" { void cblas_sgemm(); void dsyev_(); }
int main() {
#ifdef WITH_BLAS
    cblas_sgemm();
    dsyev_();
#endif
}
SRC
    link_with -DWITH_BLAS -lfmt -lsimdjson -lopenblas && return
    for lib in fmt simdjson openblas; do
        case " $missing " in *" $lib "*) continue ;; esac
        flag=
        [ $lib != openblas ] || flag=-DWITH_BLAS
        # shellcheck disable=SC2086
        link_with $flag -l$lib || missing="$missing $lib"
    done
}

# Optional, never installed here: one needs a GPU, the other is a matter of taste.
optional() {
    absent=
    have nvcc || [ -x /usr/local/cuda/bin/nvcc ] || absent="$absent, CUDA toolkit (GPU build)"
    have clang-format || absent="$absent, clang-format (style)"
    [ -z "$absent" ] || printf '%s' "${absent#, }"
}

describe() { # item names as a person would put them
    out=
    for item in $1; do
        case $item in
            compiler) name='C++20 compiler' ;;
            openblas) name=OpenBLAS ;;
            cli11) name=CLI11 ;;
            tomlplusplus) name=toml++ ;;
            catch2) name=Catch2 ;;
            *) name=$item ;;
        esac
        out="$out, $name"
    done
    printf '%s' "${out#, }"
}

report_missing() {
    case $missing in
        compiler*)
            say "missing: $(for i in compiler make; do
                case " $missing " in *" $i "*) describe $i; printf ', ' ;; esac
            done)and perhaps libraries ($cxx cannot compile a C++20 program, so they could not be checked)"
            ;;
        *) say "missing: $(describe "$missing")" ;;
    esac
}

find_missing
if [ -z "$missing" ]; then
    extra=$(optional)
    say "everything is installed${extra:+; optional and not found: $extra}"
    exit 0
fi
report_missing
[ $check_only -eq 0 ] || exit 1

# --- how this system installs ----------------------------------------------

# Homebrew first on macOS only: elsewhere the system's own manager has priority.
manager=
if [ "$(uname -s)" = Darwin ]; then
    ! have brew || manager=brew
else
    for m in apt-get dnf pacman brew; do
        if have $m; then manager=$m; break; fi
    done
fi

package() { # ITEM: its package's name; nothing if there is none
    case $manager:$1 in
        apt-get:compiler) echo g++ ;;
        apt-get:openblas) echo libopenblas-dev ;; # brings cblas.h and LAPACK
        apt-get:catch2 | apt-get:make) echo "$1" ;;
        apt-get:*) echo "lib$1-dev" ;;
        dnf:compiler) echo gcc-c++ ;;
        dnf:make) echo make ;;
        dnf:catch2) echo catch-devel ;;
        dnf:*) echo "$1-devel" ;;
        pacman:compiler) echo gcc ;;
        brew:compiler) [ "$(uname -s)" = Darwin ] || echo gcc ;;
        brew:make) [ "$(uname -s)" = Darwin ] || echo make ;;
        *) echo "$1" ;;
    esac
}

if [ -z "$manager" ]; then
    die "no package manager known here (apt, dnf, pacman, brew). fci needs: $(describe "$everything"), with headers"
fi

packages=
for item in $missing; do
    p=$(package "$item")
    [ -z "$p" ] || packages="$packages $p"
done
packages=${packages# }

if [ $manager = brew ] && [ "$(uname -s)" = Darwin ]; then
    # Apple's compiler and make come from one installer, which opens a window.
    case " $missing " in
        *' compiler '* | *' make '*) die "first get Apple's command line tools: xcode-select --install" ;;
    esac
fi

case $manager in
    apt-get) install="apt-get install -y --no-install-recommends $packages" ;;
    dnf) install="dnf install -y --setopt=install_weak_deps=False $packages" ;;
    pacman) install="pacman -S --needed --noconfirm $packages" ;;
    brew) install="brew install $packages" ;;
esac

as_root=
if [ $manager != brew ] && [ "$(id -u)" -ne 0 ]; then
    if have sudo; then
        as_root=sudo
    else
        say 'this needs root, and there is no sudo. Run as root, then again as yourself:'
        [ $manager != apt-get ] || install="apt-get update && $install"
        printf '    %s\n' "$install"
        exit 1
    fi
fi

run() { # prints a command, then runs it without asking
    say "running: ${as_root:+$as_root }$*"
    case $manager in
        apt-get) $as_root env DEBIAN_FRONTEND=noninteractive "$@" </dev/null ;;
        *) $as_root "$@" </dev/null ;;
    esac
}

# --- install ------------------------------------------------------------------

if [ $manager = apt-get ]; then
    # Lists can be missing or older than the archive. A failure need not be fatal:
    # a stale third-party source fails too.
    run apt-get update -q || say 'apt-get update failed; continuing with the existing package lists'
    # It can fail to fetch and yet exit 0; below, that must not look like an old release.
    ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1 ||
        die 'apt has no package lists: is the network up, and does /etc/apt name sources?'
    absent=
    for p in $packages; do
        case $(LC_ALL=C apt-cache policy "$p" 2>/dev/null) in
            *'Candidate: (none)'* | '') absent="$absent $p" ;;
        esac
    done
    if [ -n "$absent" ]; then
        say "this system's package sources do not have:$absent"
        say 'Debian has them all from 12 on, Ubuntu from 24.04 on (its "universe" must be enabled)'
        die 'on an older release put these libraries under /usr/local by hand, then run this again'
    fi
fi

# shellcheck disable=SC2086
if ! run $install; then
    [ $manager != pacman ] || say 'old package lists make pacman fail: a full upgrade first (pacman -Syu) may help'
    die "the package manager failed; to try by hand: ${as_root:+$as_root }$install"
fi

# The package manager's success is not enough: its compiler may be too old.
find_missing
if [ -n "$missing" ]; then
    report_missing
    [ -z "${CXX:-}" ] || say "CXX is set to $CXX: is that the compiler you want?"
    die 'some are still missing after installing'
fi
extra=$(optional)
say "everything is installed now${extra:+; optional and not installed: $extra}"
