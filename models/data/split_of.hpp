// Which examples of a set without parts of its own are for training, for validation, for the test.
//
//   auto parts = split_examples(std::move(sentences));             // by their place
//   train(parts[Split::training]);
//
// Of ten examples in a row eight are trained on, the ninth validates, the tenth tests, so figures of
// different programs can be compared, and every part has seen the whole file.
#pragma once

#include <array>
#include <utility>
#include <vector>

#include "unroll/autograd/shape.hpp"

namespace unroll {

enum class Split { training, validation, test };

/// Of example `number`, counted from 0.
[[nodiscard]] constexpr Split split_of(Size number) {
  return number % 10 == 9 ? Split::test : number % 10 == 8 ? Split::validation : Split::training;
}

template <class Example>
class SplitExamples {
 public:
  [[nodiscard]] std::vector<Example>& operator[](Split s) { return parts_[std::size_t(s)]; }
  [[nodiscard]] const std::vector<Example>& operator[](Split s) const {
    return parts_[std::size_t(s)];
  }

 private:
  std::array<std::vector<Example>, 3> parts_;
};

/// By number_of(example, place); by place where that is not given.
template <class Example, class Number>
[[nodiscard]] SplitExamples<Example> split_examples(std::vector<Example> examples,
                                                    Number&& number_of) {
  SplitExamples<Example> parts;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const Split split = split_of(number_of(examples[i], Size(i)));
    parts[split].push_back(std::move(examples[i]));
  }
  return parts;
}
template <class Example>
[[nodiscard]] SplitExamples<Example> split_examples(std::vector<Example> examples) {
  return split_examples(std::move(examples), [](const Example&, Size place) { return place; });
}

/// Throws std::invalid_argument where a part has no examples.
template <class Example>
void check_parts(const SplitExamples<Example>& parts) {
  for (const Split s : {Split::training, Split::validation, Split::test}) {
    if (parts[s].empty()) {
      fail("split",
           "a part is empty (training, validation or test): ten examples are needed at least");
    }
  }
}

}  // namespace unroll
