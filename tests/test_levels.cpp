// The kernels' instruction level is the loader's choice; tests/meson.build runs some of the tests at each.
#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include "unroll/autograd/lane.hpp"

using namespace unroll;

TEST_CASE("The kernels run at the level that was asked for") {
  const std::string level = kernel_level();
  CHECK_FALSE(level.empty());
#ifdef __x86_64__
  const char* asked = std::getenv("UNROLL_EXPECTED_LEVEL");
  if (asked && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    CHECK(level == asked);
  }
#endif
}
