// Catch2's main: version 3 links it from a library, version 2 defines it here.
#if !__has_include(<catch2/catch_all.hpp>)
#define CATCH_CONFIG_MAIN
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized" // false alarm with sanitizers, in std::regex, which Catch uses
#endif
#endif
#include "tests/catch.h"
