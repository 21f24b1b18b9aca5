// Parameters that an optimiser treats differently from the rest: another learning rate, another decay, or none.
//
//   AdamW adamw(model, {.weight_decay = 0.1}, decay_matrices_only(model));     // no decay of biases
//   Sgd sgd(model, {.learning_rate = 0.1}, parameter_groups(model, [](const std::string& name, const Shape& shape) {
//     if (has_part(name, "embedding")) return ParameterSettings{.learning_rate_scale = 0.1};
//     return ParameterSettings{.weight_decay = shape.rank() < 2 ? 0 : 1e-4};
//   }));
//
// Who belongs where is decided once, when the groups are made; they are for models of that structure. The learning
// rate is a factor of the optimiser's own, so a schedule reaches all groups.
#pragma once

#include "unroll/autograd/model.hpp"

namespace unroll {

struct ParameterSettings {
  double learning_rate_scale = 1;  // 0: it stays as it is, and so does the optimiser's state of it
  std::optional<double> weight_decay = std::nullopt;  // in place of the optimiser's
};

// One for each parameter, in the order of the fields; empty: the optimiser's options are for all.
using ParameterGroups = std::vector<ParameterSettings>;

// settings_of(name, shape) for each parameter; names as in for_each_named.
template <Tree M, class F>
[[nodiscard]] ParameterGroups parameter_groups(const M& model, F&& settings_of) {
  ParameterGroups groups;
  for_each_named(model, [&](const std::string& name, const auto& p) {
    groups.push_back(settings_of(name, p.shape()));
  });
  return groups;
}

// Is one of the parts of a name, between dots, this one? "bias" is in "layers.0.bias".
[[nodiscard]] inline bool has_part(std::string_view name, std::string_view part) {
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find('.', begin), name.size());
    if (name.substr(begin, end - begin) == part) return true;
    begin = end + 1;
  }
  return false;
}

// The decay of the options for what has two axes or more, none for the rest: biases, gains, single numbers.
template <Tree M>
[[nodiscard]] ParameterGroups decay_matrices_only(const M& model) {
  return parameter_groups(model, [](const std::string&, const Shape& shape) {
    return shape.rank() < 2 ? ParameterSettings{.weight_decay = 0} : ParameterSettings{};
  });
}
// No decay for parameters with this part in their name.
template <Tree M>
[[nodiscard]] ParameterGroups no_decay_of(const M& model, std::string_view part) {
  return parameter_groups(model, [&](const std::string& name, const Shape&) {
    return has_part(name, part) ? ParameterSettings{.weight_decay = 0} : ParameterSettings{};
  });
}

}  // namespace unroll
