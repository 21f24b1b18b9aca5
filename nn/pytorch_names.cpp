#include "unroll/nn/pytorch_names.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

namespace unroll {
namespace {

constexpr std::array<std::string_view, 5> recurrent{"weight_ih", "weight_hh", "bias_ih", "bias_hh",
                                                    "weight_hr"};

bool is_number(std::string_view s) {
  return !s.empty() && s.find_first_not_of("0123456789") == s.npos;
}

}  // namespace

std::string pytorch_name(const std::string& name) {
  std::vector<std::string_view> parts;
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t end = std::min(name.find('.', at), name.size());
    parts.push_back(std::string_view(name).substr(at, end - at));
    at = end + 1;
  }
  const std::string_view parameter = parts.back();
  if (std::find(recurrent.begin(), recurrent.end(), parameter) == recurrent.end()) return name;
  parts.pop_back();
  std::string_view layer = "0";
  bool directed = false, reverse = false, in_stack = false;
  const auto take_wrappers = [&] {
    while (!parts.empty() && (parts.back() == "cell" || parts.back() == "layer")) parts.pop_back();
  };
  take_wrappers();
  if (!parts.empty() && (parts.back() == "forward" || parts.back() == "backward")) {
    directed = true;
    reverse = parts.back() == "backward";
    parts.pop_back();
    take_wrappers();
  }
  if (parts.size() >= 2 && is_number(parts.back()) && parts[parts.size() - 2] == "layers") {
    in_stack = true;
    layer = parts.back();
    parts.resize(parts.size() - 2);
  }
  if (!directed && !in_stack) return name;
  std::string out;
  for (const std::string_view part : parts) out.append(part).append(".");
  out.append(parameter).append("_l").append(layer);
  return reverse ? out + "_reverse" : out;
}

}  // namespace unroll
