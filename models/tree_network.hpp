// A recursive network over binary trees: each tree makes a computation of its own shape.
//
//   std::mt19937_64 random(1);
//   Formula f = random_formula(random, 6);              // ((1 and 0) xor (0 or (1 and 1))) and ...
//   auto net = TreeNetwork<float>::make(Key(1), 16);
//   net.logit(f);                                       // > 0: the network holds it for true
//
// A leaf is a row of a table, h = tanh(W_op [h_left; h_right] + b_op) an inner node, and the root
// is read out. Nothing is told to the tape about trees: it records what is computed. Invariant:
// nodes stand in the order in which they are computed, children first, so that trees of any depth
// are walked by a loop.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "unroll/nn/embedding.hpp"
#include "unroll/nn/linear.hpp"

namespace unroll {

enum class Connective { conjunction, disjunction, exclusive };

struct FormulaNode {
  std::size_t left = 0, right = 0;  // where the operands stand; used by inner nodes
  Connective connective = Connective::conjunction;
  bool leaf = true;
  bool value = false;  // of this part of the formula
};
struct Formula {
  std::vector<FormulaNode> nodes;  // the root is the last
  std::string text;

  [[nodiscard]] bool value() const { return nodes.back().value; }
};

// Constants joined at random; all shapes of binary trees with this many leaves occur. Throws when
// there are none.
[[nodiscard]] inline Formula random_formula(std::mt19937_64& random, std::size_t leaves) {
  if (leaves == 0) fail("random_formula", "a formula has at least one leaf");
  static constexpr std::array names{"and", "or", "xor"};
  Formula f;
  std::vector<std::size_t> open;  // parts that nothing has joined yet
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < leaves; ++i) {
    FormulaNode node;
    node.value = random() % 2 == 1;
    open.push_back(f.nodes.size());
    texts.push_back(node.value ? "1" : "0");
    f.nodes.push_back(node);
  }
  while (open.size() > 1) {  // join two neighbours
    const std::size_t at = random() % (open.size() - 1);
    const auto k = random() % names.size();
    FormulaNode node{open[at], open[at + 1], static_cast<Connective>(k), false, false};
    const bool a = f.nodes[node.left].value, b = f.nodes[node.right].value;
    node.value = k == 0 ? a && b : k == 1 ? a || b : a != b;
    texts[at] = "(" + texts[at] + " " + names[k] + " " + texts[at + 1] + ")";
    texts.erase(texts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    open[at] = f.nodes.size();
    open.erase(open.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    f.nodes.push_back(node);
  }
  f.text = texts.front();
  return f;
}

template <FloatOrDouble T>
struct TreeNetwork {
  Embedding<T> leaves;              // [2, H]
  std::array<Linear<T>, 3> joints;  // one for each connective, [H, 2H]
  Linear<T> out;                    // [1, H]
  static constexpr auto fields() {
    return std::tuple{field("leaves", &TreeNetwork::leaves), field("joints", &TreeNetwork::joints),
                      field("out", &TreeNetwork::out)};
  }

  [[nodiscard]] static TreeNetwork make(const Key& key, Size hidden) {
    const auto k = split<5>(key);
    return {Embedding<T>::make(k[0], 2, hidden),
            {Linear<T>::make(k[1], 2 * hidden, hidden), Linear<T>::make(k[2], 2 * hidden, hidden),
             Linear<T>::make(k[3], 2 * hidden, hidden)},
            Linear<T>::make(k[4], hidden, 1)};
  }

  // [1]
  [[nodiscard]] Var<T> logit(const Formula& formula) const {
    std::vector<Var<T>> h;  // of each node, [H]
    h.reserve(formula.nodes.size());
    for (const FormulaNode& n : formula.nodes) {
      if (n.leaf) {
        h.push_back(leaves(Indices(n.value ? 1 : 0)));
      } else {
        const auto& joint = joints[static_cast<std::size_t>(n.connective)];
        h.push_back(tanh(joint(concat({h[n.left], h[n.right]}))));
      }
    }
    return out(h.back());
  }
};

}  // namespace unroll
