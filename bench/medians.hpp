// What Google Benchmark measures, kept for a table and for bars: the medians over its repetitions.
//
//   initialize(argc, argv);                      // takes Google Benchmark's own options: --benchmark_filter, ...
//   benchmark::RegisterBenchmark("add/loop", [](benchmark::State& state) { for (auto _ : state) ...; });
//   const Medians medians = run_benchmarks();
//   medians["add/loop"].ns;                       // CPU time per iteration, or the manual time
//
// Repetitions of all benchmarks take turns, in random order, so that a neighbour on the core does not have all of one.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

namespace unroll::bench {

struct Median {
  double ns = 0;
  bool measured = false;
};

class Medians : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.error_occurred ||
          (run.run_type == Run::RT_Aggregate && run.aggregate_name != "median"))
        continue;
      Median& m = by_name_[run.run_name.function_name];
      // Of several repetitions the aggregate comes last.
      m.ns = run.run_name.time_type == "manual_time" ? run.GetAdjustedRealTime()
                                                     : run.GetAdjustedCPUTime();
      m.measured = true;
    }
  }
  Median operator[](const std::string& name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? Median{} : found->second;
  }

 private:
  std::map<std::string, Median> by_name_;
};

// Leaves the other arguments in argv.
inline void initialize(int& argc, char** argv) {
  std::string turns = "--benchmark_enable_random_interleaving=true";
  std::vector<char*> all(argv, argv + argc);
  all.insert(all.begin() + 1, turns.data());
  auto count = static_cast<int>(all.size());
  benchmark::Initialize(&count, all.data());
  argc = count;
  std::copy_n(all.begin(), count, argv);
}

inline Medians run_benchmarks() {
  Medians medians;
  benchmark::RunSpecifiedBenchmarks(&medians);
  return medians;
}

}  // namespace unroll::bench
