// What Google Benchmark measures, kept for a table and for bars: the medians over its repetitions.
//
//   benchmark::RegisterBenchmark("add/loop", [](benchmark::State& state) { for (auto _ : state) ...; });
//   const Medians medians = run_benchmarks();
//   medians["add/loop"].ns;                       // CPU time per iteration, or the manual time
//
// Google Benchmark's own options (--benchmark_filter, --benchmark_repetitions, ...) apply.
#pragma once

#include <benchmark/benchmark.h>

#include <map>
#include <string>

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

inline Medians run_benchmarks() {
  Medians medians;
  benchmark::RunSpecifiedBenchmarks(&medians);
  return medians;
}

}  // namespace unroll::bench
