// Keeps BLAS from having threads of its own.
//
//   int main(int argc, char** argv) {
//     unroll::bench::one_blas_thread(argv);
//
// OpenBLAS makes its threads when it is loaded. Told later to use one, it lets the others sleep; but a process that has them counts
// the owners of arrays by atomic instructions, some per cent of the smallest training steps. So the program starts once more.
#pragma once

#include <cblas.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace unroll::bench {

inline void one_blas_thread(char** argv) {
  constexpr const char* variable = "OPENBLAS_NUM_THREADS";
  const char* const set = std::getenv(variable);
  if (!set || std::string_view(set) != "1") {
    setenv(variable, "1", 1);
    execv("/proc/self/exe", argv);  // returns only where that is not allowed
  }
  openblas_set_num_threads(1);
}

}  // namespace unroll::bench
