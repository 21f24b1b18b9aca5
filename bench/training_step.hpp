// Training steps over the library's tape, on one thread or with the batch split over several.
//
//   TrainingStep step(program, model);                 // one tape
//   ParallelStep step(problem, model, 4, make);        // four tapes on four threads; make(part of the problem) -> program
//   double loss = step.step(0.01);                     // forward, backward to all weights, SGD
//
// A program holds its inputs and offers loss(model) -> Var and update(model, gradient, rate).
#pragma once

#include <optional>

#include "unroll/autograd/autograd.hpp"
#include "unroll/bench/problem.hpp"
#include "unroll/bench/workers.hpp"

namespace unroll::bench {

template <class Program, class Model>
class TrainingStep {
 public:
  TrainingStep(Program program, Model model)
      : program_(std::move(program)), model_(std::move(model)) {}

  double step(double rate) {
    auto [loss, gradient] =
        value_and_grad([&](const Model& m) { return program_.loss(m); }, model_);
    program_.update(model_, gradient, rate);
    return static_cast<double>(loss.item());
  }

 private:
  Program program_;
  Model model_;
};

// The parts' gradients are added in the order of the parts: the same sums whichever thread is done first.
template <class Program, class Model>
class ParallelStep {
 public:
  template <class T, class Make>
  ParallelStep(const Problem<T>& problem, Model model, int threads, Make&& make)
      : model_(std::move(model)), workers_(threads) {
    const Size B = problem.size.B;
    for (int i = 0; i < threads; ++i) {
      const Size first = B * i / threads, count = B * (i + 1) / threads - first;
      programs_.push_back(make(part_of(problem, first, count)));
      shares_.push_back(static_cast<double>(count) / static_cast<double>(B));
    }
    parts_.resize(programs_.size());
  }

  double step(double rate) {
    workers_.run([this](int thread) {
      const auto i = static_cast<std::size_t>(thread);
      auto [loss, gradient] =
          value_and_grad([&](const Model& m) { return programs_[i].loss(m) * shares_[i]; }, model_);
      parts_[i].loss = static_cast<double>(loss.item());
      parts_[i].gradient.emplace(std::move(gradient));
    });
    double loss = parts_[0].loss;
    Model total = *std::exchange(parts_[0].gradient, std::nullopt);
    for (std::size_t i = 1; i < parts_.size(); ++i) {
      loss += parts_[i].loss;
      total = tree_map([](const auto& a, const auto& b) { return a + b; }, total,
                       *std::exchange(parts_[i].gradient, std::nullopt));
    }
    programs_[0].update(model_, total, rate);
    return loss;
  }
  Workers& workers() { return workers_; }

 private:
  struct Part {
    double loss = 0;
    std::optional<Model> gradient;
  };
  Model model_;
  std::vector<Program> programs_;
  std::vector<double> shares_;
  std::vector<Part> parts_;
  Workers workers_;
};

}  // namespace unroll::bench
