// Ops that rearrange, select and join: see op_samples.hpp.
#include "op_samples.hpp"

namespace unroll::testing {

void add_structure_ops(std::vector<OpEntry>& table) {
  const char* group = "Shapes (views: they copy nothing)";
  const auto linear_op = [&](const char* name, const char* call, const char* formula,
                             const char* notes, std::vector<OpSample> s,
                             OpKind kind = OpKind::linear) {
    table.push_back({group, name, call, formula, notes, kind, std::move(s)});
  };
  linear_op("reshape", "reshape(x, shape)", "the same elements in row-major order",
            "one size may be -1",
            all_of({samples({{Shape{2, 6}}, {Shape{12}}, {Shape{3, 2, 2}}},
                            [](const auto& x) {
                              return reshape(x[0], {4, -1});
                            }),
                    samples({{Shape{}}, {Shape{1}}},
                            [](const auto& x) {
                              return reshape(x[0], Shape{1, 1});
                            }),
                    samples({{Shape{0, 3}}}, [](const auto& x) {
                      return reshape(x[0], Shape{2, 0});
                    })}));
  linear_op("transpose", "transpose(x)", "the last two axes swapped", "",
            samples({{Shape{3, 4}}, {Shape{2, 3, 4}}, {Shape{1, 3}}, {Shape{0, 3}}},
                    [](const auto& x) { return transpose(x[0]); }));
  linear_op("permute", "permute(x, order)", "axis i of the result is axis order[i]", "",
            all_of({samples({{Shape{2, 3, 4}}, {Shape{2, 1, 3}}, {Shape{2, 0, 3}}},
                            [](const auto& x) {
                              return permute(x[0], {2, 0, 1});
                            }),
                    samples({{Shape{2, 3}}},
                            [](const auto& x) {
                              return permute(x[0], {-1, 0});
                            }),
                    samples({{Shape{}}}, [](const auto& x) {
                      return permute(x[0], std::span<const Size>{});
                    })}));
  linear_op("squeeze", "squeeze(x, axes = all of size 1)", "without axes of size 1", "",
            all_of({samples({{Shape{1, 3, 1}}, {Shape{1}}, {Shape{2, 3}}, {Shape{1, 0}}},
                            [](const auto& x) { return squeeze(x[0]); }),
                    samples(
                        {{Shape{1, 3, 1}}}, [](const auto& x) { return squeeze(x[0], -1); }, {},
                        "axis -1:")}));
  linear_op("expand", "expand(x, axis)", "with a new axis of size 1", "",
            all_of({samples({{Shape{3, 4}}, {Shape{}}, {Shape{0}}},
                            [](const auto& x) { return expand(x[0], -1); }),
                    samples({{Shape{3, 4}}}, [](const auto& x) { return expand(x[0], 1); })}));
  linear_op(
      "broadcast_to", "broadcast_to(x, shape)", "repeated along axes that are missing or of size 1",
      "",
      all_of({samples({{Shape{}}, {Shape{3}}, {Shape{2, 1}}, {Shape{1, 1, 1}}, {Shape{4, 2, 3}}},
                      [](const auto& x) {
                        return broadcast_to(x[0], Shape{4, 2, 3});
                      }),
              samples({{Shape{1, 3}}}, [](const auto& x) {
                return broadcast_to(x[0], Shape{0, 3});
              })}));
  linear_op("sum_to", "sum_to(x, shape)", "summed over what broadcasting from shape adds",
            "the adjoint of broadcast_to",
            all_of({samples({{Shape{2, 3}}, {Shape{4, 2, 3}}, {Shape{2, 1}}, {Shape{0, 3}}},
                            [](const auto& x) { return sum_to(x[0], Shape{x[0].size(-1)}); }),
                    samples({{Shape{4, 2, 3}}},
                            [](const auto& x) {
                              return sum_to(x[0], Shape{2, 1});
                            }),
                    samples({{Shape{4, 2}}, {Shape{}}},
                            [](const auto& x) { return sum_to(x[0], Shape{}); })}));
  linear_op("flip", "flip(x, axis)", "in reverse order", "",
            samples({{Shape{5}}, {Shape{3, 4}}, {Shape{2, 0}}},
                    [](const auto& x) { return flip(x[0], -1); }));

  group = "Parts and joins";
  linear_op(
      "slice", "slice(x, axis, {start, stop, step})  slice(x, {range, range, ...})",
      "Python's start:stop:step",
      "a view; ends out of range are moved; all slices of one array cost one pass in its gradient",
      all_of({samples({{Shape{7}}, {Shape{2, 7}}, {Shape{1}}, {Shape{3, 0}}},
                      [](const auto& x) {
                        return slice(x[0], -1, {1, 6, 2});
                      }),
              samples(
                  {{Shape{7}}, {Shape{7, 2}}},
                  [](const auto& x) { return slice(x[0], 0, {.step = -2}); }, {}, "step -2:"),
              samples(
                  {{Shape{5, 6, 3}}},
                  [](const auto& x) {
                    return slice(x[0], {{1, 4}, {-2, std::nullopt, -3}, {.step = -1}});
                  },
                  {}, "several axes:"),
              samples(
                  {{Shape{6, 2}}},
                  [](const auto& x) {
                    auto y = slice(x[0], 0, {0, 4}) * slice(x[0], 0, {2, 6});
                    return y + slice(x[0], 0, {4, 0, -1});
                  },
                  {}, "overlapping parts:")}));
  linear_op(
      "index", "index(x, axis, i)", "x[..., i, ...]",
      "a view without that axis; out of range throws",
      all_of({samples({{Shape{4}}, {Shape{4, 3}}}, [](const auto& x) { return index(x[0], 0, 2); }),
              samples({{Shape{2, 3, 4}}}, [](const auto& x) { return index(x[0], -2, -1); }),
              samples(
                  {{Shape{3, 2}}},
                  [](const auto& x) {
                    return index(x[0], 0, 1) * index(x[0], 0, 2) + index(x[0], 0, 1);
                  },
                  {}, "several rows:")}));
  linear_op(
      "concat", "concat({a, b, ...}, axis = 0)", "joined along an axis", "",
      all_of(
          {samples({{Shape{2, 3}, Shape{4, 3}}, {Shape{2}, Shape{1}}, {Shape{0, 2}, Shape{3, 2}}},
                   [](const auto& x) {
                     return concat({x[0], x[1]});
                   }),
           samples({{Shape{2, 3}, Shape{2, 1}, Shape{2, 0}}},
                   [](const auto& x) {
                     return concat({x[0], x[1], x[2], x[0]}, -1);
                   }),
           samples({{Shape{2, 3, 2}, Shape{2, 1, 2}}}, [](const auto& x) {
             return concat({x[0], x[1]}, 1);
           })}));
  linear_op("stack", "stack({a, b, ...}, axis = 0)", "joined along a new axis", "",
            all_of({samples({{Shape{2, 3}, Shape{2, 3}}, {Shape{}, Shape{}}, {Shape{0}, Shape{0}}},
                            [](const auto& x) {
                              return stack({x[0], x[1]});
                            }),
                    samples({{Shape{2, 3}, Shape{2, 3}}},
                            [](const auto& x) {
                              return stack({x[0], x[1], x[0]}, -1);
                            }),
                    samples({{Shape{2, 3}, Shape{2, 3}}}, [](const auto& x) {
                      return stack({x[0], x[1]}, 1);
                    })}));
  linear_op("split", "split(x, count or {sizes}, axis)  split<N>(x, axis)", "parts along an axis",
            "views",
            all_of({samples({{Shape{6}}, {Shape{2, 6}}},
                            [](const auto& x) { return split(x[0], 3, -1); }),
                    samples(
                        {{Shape{5, 2}}},
                        [](const auto& x) {
                          return split(x[0], {2, 0, 3}, 0);
                        },
                        {}, "sizes {2, 0, 3}:"),
                    samples(
                        {{Shape{2, 4}}},
                        [](const auto& x) {
                          const auto parts = split<4>(x[0], 1);
                          return std::vector{parts[0] * parts[3], parts[2]};
                        },
                        {}, "as an array:")}));
  linear_op(
      "unbind", "unbind(x, axis = 0)", "the slices along an axis, which disappears", "views",
      all_of({samples({{Shape{3}}, {Shape{3, 2}}}, [](const auto& x) { return unbind(x[0]); }),
              samples({{Shape{2, 3, 2}}}, [](const auto& x) { return unbind(x[0], -1); })}));
  linear_op("pad", "pad(x, axis, before, after, value = 0)",
            "with elements added at both ends of an axis", "",
            all_of({samples({{Shape{3}}, {Shape{2, 3}}, {Shape{0}}},
                            [](const auto& x) { return pad(x[0], -1, 2, 1); }),
                    samples({{Shape{2, 3}}},
                            [](const auto& x) {
                              return pad(x[0], 0, 0, 1, element_of<decltype(x)>(2.5));
                            })}),
            OpKind::composite);
  linear_op("repeat", "repeat(x, times, axis)", "each element several times in a row",
            "numpy.repeat",
            all_of({samples({{Shape{3}}, {Shape{2, 3}}, {Shape{0, 2}}},
                            [](const auto& x) { return repeat(x[0], 3, -1); }),
                    samples({{Shape{2, 3}}}, [](const auto& x) { return repeat(x[0], 2, 0); }),
                    samples(
                        {{Shape{2, 3}}}, [](const auto& x) { return repeat(x[0], 0, 0); }, {},
                        "not at all:")}),
            OpKind::composite);

  group = "By integers and masks";
  linear_op(
      "take", "take(x, rows)", "rows of x along its first axis",
      "an embedding; its gradient touches only those rows",
      all_of(
          {samples({{Shape{4, 3}}, {Shape{4}}, {Shape{4, 2, 2}}},
                   [](const auto& x) {
                     return take(x[0], Indices({2, 2}, {3, 0, 3, 1}));
                   }),
           samples(
               {{Shape{4, 3}}}, [](const auto& x) { return take(x[0], Indices(2)); }, {},
               "one row:"),
           samples(
               {{Shape{4, 3}}}, [](const auto& x) { return take(x[0], Indices()); }, {}, "no row:"),
           samples(
               {{Shape{4, 3}}},
               [](const auto& x) {
                 return take(x[0], Indices({2}, {3, 0})) * take(x[0], Indices({2}, {1, 0}));
               },
               {}, "twice:")}));
  linear_op("gather", "gather(x, indices, axis)", "x[i][indices[i][j]]  (axis 1)",
            "indices may be shorter along the other axes",
            all_of({samples({{Shape{2, 4}}, {Shape{3, 4}}},
                            [](const auto& x) {
                              return gather(x[0], Indices({2, 3}, {3, 0, 3, 1, 1, 2}), -1);
                            }),
                    samples({{Shape{4, 2}}},
                            [](const auto& x) {
                              return gather(x[0], Indices({1, 2}, {3, 0}), 0);
                            }),
                    samples({{Shape{2, 2, 3}}}, [](const auto& x) {
                      return gather(x[0], Indices({2, 1, 3}, {0, 1, 1, 0, 0, 1}), 1);
                    })}));
  linear_op(
      "scatter_add", "scatter_add(x, indices, source, axis)",
      "x with source[i][j] added at [i][indices[i][j]]  (axis 1)", "",
      all_of({samples({{Shape{2, 4}, Shape{2, 3}}, {Shape{3, 4}, Shape{2, 3}}},
                      [](const auto& x) {
                        return scatter_add(x[0], Indices({2, 3}, {3, 0, 3, 1, 1, 2}), x[1], 1);
                      }),
              samples({{Shape{4}, Shape{3}}}, [](const auto& x) {
                return scatter_add(x[0], Indices({3}, {1, 1, 1}), square(x[1]), 0);
              })}));
  linear_op("masked_fill", "masked_fill(x, mask, value)", "value where the mask is not 0, else x",
            "",
            samples({{Shape{2, 3}}, {Shape{3}}, {Shape{}}},
                    [](const auto& x) {
                      using T = element_of<decltype(x)>;
                      return masked_fill(x[0], Var<T>(Shape{2, 3}, {1, 0, 0, 0, 1, 1}), T(-1.25));
                    }),
            OpKind::composite);
}

const std::vector<OpEntry>& op_table() {
  static const std::vector<OpEntry> table = [] {
    std::vector<OpEntry> t;
    add_array_ops(t);
    add_elementwise_ops(t);
    add_structure_ops(t);
    return t;
  }();
  return table;
}

}  // namespace unroll::testing
