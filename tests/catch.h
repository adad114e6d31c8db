// Catch2, version 3 or 2: the tests use only features of both.
#pragma once
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp> // has Approx in the global namespace
#endif
