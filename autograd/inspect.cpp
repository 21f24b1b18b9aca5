#include "unroll/autograd/inspect.hpp"

#include <iostream>
#include <limits>
#include <unordered_map>

namespace unroll {
namespace detail {
namespace {

using Kind = OpTable::Kind;
using NodeNames = std::vector<std::pair<const Node*, std::string>>;

struct Operand {
  std::size_t number;     // of a node
  const Block* constant;  // or this
};
struct Entry {
  const Node* node;
  std::vector<Operand> operands = {};
  Shape shape = {};
  std::size_t results = 0;  // nodes of their own, where there are several
  std::string name = {};
};

// The tape with numbers for pointers, oldest first.
class Graph {
 public:
  Graph(const Node* last, const NodeNames& names) {
    for (const Node* n = last; n; n = n->prev) entries_.push_back({n});
    std::reverse(entries_.begin(), entries_.end());
    for (std::size_t i = 0; i < entries_.size(); ++i) numbers_[entries_[i].node] = i;
    for (Entry& e : entries_) {
      if (e.node->value) e.shape = e.node->value->shape();
      for (std::size_t i = 0; i < e.node->input_count; ++i) {
        const Input in = e.node->inputs()[i];
        e.operands.push_back({in.node() ? numbers_.at(in.node()) : 0, in.constant()});
      }
      if (kind(e) == Kind::result) {  // the op that it belongs to has no value of its own
        Entry& op = entries_[e.operands[0].number];
        op.shape = e.shape;
        ++op.results;
      }
    }
    for (const auto& [node, name] : names) {
      if (numbers_.contains(node)) entries_[number(node)].name = name;
    }
  }

  std::size_t size() const { return entries_.size(); }
  const Entry& operator[](std::size_t i) const { return entries_[i]; }
  std::size_t number(const Node* n) const {
    const auto found = numbers_.find(n);
    if (found == numbers_.end()) {
      fail("to_dot", "a time step ends with a Var that was not recorded on this tape");
    }
    return found->second;
  }
  bool is_result(std::size_t i) const { return kind(entries_[i]) == Kind::result; }
  // A leaf that an inner transform put on an enclosing tape's value is an ordinary node here.
  bool is_leaf(std::size_t i) const {
    return kind(entries_[i]) == Kind::leaf && entries_[i].operands.empty();
  }
  // The node that stands for it in a picture: an op and its several results are one.
  std::size_t origin(std::size_t i) const {
    return is_result(i) ? entries_[i].operands[0].number : i;
  }

 private:
  static Kind kind(const Entry& e) { return e.node->table->kind; }

  std::vector<Entry> entries_;
  std::unordered_map<const Node*, std::size_t> numbers_;
};

constexpr std::size_t outside = std::numeric_limits<std::size_t>::max();

// The steps in which a value is used: none, which one, or how many (three stand for any more).
struct Users {
  std::size_t count = 0;
  std::size_t steps[2] = {};
  void add(std::size_t step) {
    for (std::size_t k = 0; k < std::min<std::size_t>(count, 2); ++k) {
      if (steps[k] == step) return;
    }
    if (count < 2) steps[count] = step;
    if (count < 3) ++count;
  }
  std::size_t place(std::size_t recorded) const {
    return count == 1 ? steps[0] : count == 3 ? outside : recorded;
  }
};

// The time step of each node, from 0; `outside` for leaves and for what no step claims.
std::vector<std::size_t> steps_of(const Graph& g, const std::vector<const Node*>& ends) {
  std::vector<std::size_t> step(g.size(), outside);
  std::vector<char> follows(g.size(), 0);  // depends on the end of some step
  std::size_t at = 0;
  for (std::size_t t = 0; t < ends.size(); ++t) {
    const std::size_t end = g.number(ends[t]);
    for (; at <= end; ++at) step[at] = t;
    follows[end] = follows[g.origin(end)] = 1;
  }
  for (std::size_t i = 0; i < g.size(); ++i) {
    if (g.is_leaf(i)) step[i] = outside;
    for (const Operand& in : g[i].operands) {
      if (!in.constant && follows[in.number]) follows[i] = 1;
    }
  }
  // What reads only inputs goes to the one step that uses it, whenever it was recorded; what many
  // use stays outside.
  std::vector<Users> users(g.size());
  for (std::size_t i = g.size(); i-- > 0;) {
    if (!follows[i] && !g.is_leaf(i)) step[i] = users[i].place(step[i]);
    for (const Operand& in : g[i].operands) {
      if (!in.constant) users[in.number].add(step[i]);
    }
  }
  return step;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out += '"';
}

std::string padded(std::string text, std::size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

// Writes the statements of a graph; one object per picture.
class DotWriter {
 public:
  DotWriter(const Graph& graph, const GraphOptions& options)
      : g_(graph), options_(options), step_(steps_of(graph, options.steps)) {}

  std::string write() {
    const std::string direction = options_.time == TimeAxis::right ? "LR" : "TB";
    out_ = "digraph tape {\n  rankdir=" + direction +
           "; newrank=true; nodesep=0.15; ranksep=0.2;\n"
           "  node [shape=box, style=\"rounded,filled\", fillcolor=\"#ffffff\", color=\"#5f6b7a\", "
           "fontsize=11, height=0.3, margin=\"0.08,0.04\"];\n"
           "  edge [color=\"#5f6b7a\", arrowsize=0.6];\n";
    if (!options_.title.empty()) out_ += "  label=" + quoted(options_.title) + "; labelloc=t;\n";
    for (std::size_t i = 0; i < g_.size(); ++i) {
      if (step_[i] == outside) node(i, "  ");
    }
    for (std::size_t t = 0; t < options_.steps.size(); ++t) cluster(t);
    order_clusters();
    for (std::size_t i = 0; i < g_.size(); ++i) edges(i);
    return out_ + "}\n";
  }

 private:
  void cluster(std::size_t t) {
    const std::string number = std::to_string(t + 1);
    out_ += "  subgraph cluster_" + number + " {\n    label=" + quoted("t = " + number) +
            "; style=\"rounded,filled\"; fillcolor=\"#eef3fa\"; color=\"#9db4d0\"; fontsize=13;\n";
    for (std::size_t i = 0; i < g_.size(); ++i) {
      if (step_[i] == t) node(i, "    ");
    }
    out_ += "  }\n";
  }
  // What is used first in a step stands behind what comes out of the step before.
  void order_clusters() {
    std::vector<char> feeds(g_.size(), 0), fed(g_.size(), 0);  // inside its own step
    for (std::size_t i = 0; i < g_.size(); ++i) {
      if (g_.is_result(i)) continue;
      for (const Operand& in : g_[i].operands) {
        if (in.constant || step_[g_.origin(in.number)] != step_[i]) continue;
        feeds[g_.origin(in.number)] = fed[i] = 1;
      }
    }
    const std::size_t steps = options_.steps.size();
    std::vector<std::string> first(steps), last(steps);
    for (std::size_t i = 0; i < g_.size(); ++i) {
      if (step_[i] == outside || g_.is_result(i)) continue;
      if (!fed[i]) first[step_[i]] += id(i) + "; ";
      if (!feeds[i]) last[step_[i]] += id(i) + "; ";
    }
    for (std::size_t t = 1; t < steps; ++t) {
      if (first[t].empty() || last[t - 1].empty()) continue;
      out_ += "  { " + last[t - 1] + "} -> { " + first[t] + "} [style=invis, weight=0];\n";
    }
  }
  void node(std::size_t i, std::string_view indent) {
    if (g_.is_result(i)) return;
    const Entry& e = g_[i];
    const bool leaf = g_.is_leaf(i);
    std::string label = e.name;
    for (std::size_t k = 1; k <= e.results; ++k) {  // its results follow it
      if (!g_[i + k].name.empty()) label += (label.empty() ? "" : ", ") + g_[i + k].name;
    }
    if (!leaf || label.empty())
      label += (label.empty() ? "" : " = ") + std::string(e.node->table->name);
    label += "\n" + (e.results > 1 ? std::to_string(e.results) + " x " : "") + to_string(e.shape);
    out_.append(indent).append(id(i)).append(" [label=").append(quoted(label));
    if (leaf) out_ += ", shape=ellipse, style=filled, fillcolor=\"#fdf1d6\", color=\"#c79a3b\"";
    out_ += "];\n";
    if (options_.constants == Constants::hide) return;
    for (std::size_t k = 0; k < e.operands.size(); ++k) {
      if (!e.operands[k].constant) continue;
      const std::string constant = id(i) + "_" + std::to_string(k);
      out_.append(indent).append(constant).append(" [label=");
      out_ += quoted("const\n" + to_string(e.operands[k].constant->shape())) +
              ", shape=plaintext, style=\"\", fontcolor=\"#5f6b7a\"];\n";
      out_.append(indent).append(constant).append(" -> ").append(id(i));
      out_ += " [style=dotted];\n";
    }
  }
  void edges(std::size_t i) {
    if (g_.is_result(i)) return;
    for (const Operand& in : g_[i].operands) {
      if (in.constant) continue;
      const std::size_t from = g_.origin(in.number);
      out_ += "  " + id(from) + " -> " + id(i);
      if (g_.is_leaf(from)) {
        out_ += " [color=\"#dcc08a\"]";
      } else if (step_[from] != outside && step_[from] != step_[i]) {
        out_ += " [color=\"#2f5f9e\", penwidth=1.6]";
      }
      out_ += ";\n";
    }
  }
  static std::string id(std::size_t i) { return "n" + std::to_string(i); }

  const Graph& g_;
  const GraphOptions& options_;
  std::vector<std::size_t> step_;
  std::string out_;
};

template <class T>
NodeNames nodes_of(const Names<T>& names) {
  NodeNames out;
  for (const auto& [v, name] : names) out.emplace_back(v.handle().node(), name);
  return out;
}

}  // namespace

std::string graph_text(const Node* last, const GraphOptions& options) {
  const Graph g(last, options.names);
  const std::size_t digits = std::to_string(g.size()).size();
  std::size_t op_width = 0, shape_width = 0;
  for (std::size_t i = 0; i < g.size(); ++i) {
    op_width = std::max(op_width, std::string_view(g[i].node->table->name).size());
    shape_width = std::max(shape_width, to_string(g[i].shape).size());
  }
  std::string out;
  for (std::size_t i = 0; i < g.size(); ++i) {
    const Entry& e = g[i];
    const std::string number = std::to_string(i);
    std::string line = std::string(digits - number.size(), ' ') + number + "  " +
                       padded(e.node->table->name, op_width) + "  " +
                       padded(to_string(e.shape), shape_width);
    for (std::size_t k = 0; k < e.operands.size(); ++k) {
      const Operand& in = e.operands[k];
      line += k == 0 ? "  <- " : ", ";
      line += in.constant ? "const " + to_string(in.constant->shape()) : std::to_string(in.number);
    }
    if (!e.name.empty()) line += "  " + e.name;
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  }
  return out;
}

std::string graph_dot(const Node* last, const GraphOptions& options) {
  return DotWriter(Graph(last, options.names), options).write();
}

}  // namespace detail

template <FloatOrDouble T>
std::string to_text(const Tape<T>& tape, const Names<T>& names) {
  return detail::graph_text(tape.session().core().last(),
                            {.steps = {}, .names = detail::nodes_of(names), .title = {}});
}
template <FloatOrDouble T>
std::ostream& operator<<(std::ostream& out, const Tape<T>& tape) {
  return out << to_text(tape);
}
template <FloatOrDouble T>
void print(const Tape<T>& tape) {
  std::cout << tape;
}

template <FloatOrDouble T>
std::string to_dot(const Tape<T>& tape, const DotOptions<T>& options) {
  detail::GraphOptions plain{.steps = {},
                             .names = detail::nodes_of(options.names),
                             .constants = options.constants,
                             .time = options.time,
                             .title = options.title};
  for (const Var<T>& v : options.steps) plain.steps.push_back(v.handle().node());
  return detail::graph_dot(tape.session().core().last(), plain);
}

template std::string to_text(const Tape<float>&, const Names<float>&);
template std::string to_text(const Tape<double>&, const Names<double>&);
template std::ostream& operator<<(std::ostream&, const Tape<float>&);
template std::ostream& operator<<(std::ostream&, const Tape<double>&);
template void print(const Tape<float>&);
template void print(const Tape<double>&);
template std::string to_dot(const Tape<float>&, const DotOptions<float>&);
template std::string to_dot(const Tape<double>&, const DotOptions<double>&);

}  // namespace unroll
