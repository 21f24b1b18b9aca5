// The training step of rnn_step in libtorch, as a process that rnn_step starts and takes turns with:
//
//   libtorch_step ops|module elman|lstm|gru float|double H,B,T stacked|per-step THREADS
//
// `ops` is a cell from torch's operations, looped step by step; `module` is torch::nn::RNN, LSTM or GRU. The cells have the
// one bias that the others have: of a module's second bias only the GRU's inner part is trained, the rest stays 0.
#include <sys/resource.h>
#include <sys/socket.h>
#include <torch/torch.h>

#include <functional>

#include "unroll/bench/allocation_counter.hpp"
#include "unroll/bench/measure.hpp"
#include "unroll/bench/problem.hpp"
#include "unroll/bench/step_wire.hpp"

namespace {

using namespace unroll::bench;
using torch::Tensor;

std::int64_t peak_resident_bytes() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * std::int64_t{1024};
}

template <class T>
Tensor tensor(const std::vector<T>& values, at::IntArrayRef shape) {
  return torch::tensor(values, torch::CppTypeToScalarType<T>::value).reshape(shape);
}

std::int64_t gates_of(const std::string& cell) {
  return cell == "lstm" ? 4 : cell == "gru" ? 3 : 1;
}

template <class T>
class TorchStep {
 public:
  TorchStep(const std::string& kind, const std::string& cell, const Case& size, bool per_step)
      : cell_(cell), size_(size), per_step_(per_step) {
    const std::int64_t H = size.H, G = gates_of(cell) * H;
    const auto problem = make_problem<T>(size);
    xs_ = tensor(problem.xs, {size.T, size.B, H});
    labels_ = tensor(problem.labels, {size.T * size.B});
    const auto w = make_weights<T>(H, G / H, cell == "gru");
    U_ = parameter(tensor(w.U, {G, H})), W_ = parameter(tensor(w.W, {G, H}));
    b_ = parameter(tensor(w.b, {G}));
    V_ = parameter(tensor(w.V, {classes, H})), c_ = parameter(tensor(w.c, {classes}));
    if (cell == "gru") bn_ = tensor(w.bn, {H});
    if (kind == "module") {
      make_module(G);
    } else {
      if (bn_.defined()) bn_ = parameter(bn_);
      states_ = [this] { return loop(); };
    }
  }

  double step(double rate) {
    const Tensor loss = torch::nn::functional::cross_entropy(logits(), labels_);
    loss.backward();
    torch::NoGradGuard no_grad;
    if (mask_.defined()) second_bias_.mutable_grad().mul_(mask_);
    for (Tensor& p : parameters_) {
      p.sub_(p.grad(), rate);
      p.mutable_grad() = Tensor();
    }
    return loss.template item<double>();
  }

 private:
  Tensor parameter(Tensor value) {
    parameters_.push_back(value.clone().set_requires_grad(true));
    return parameters_.back();
  }
  Tensor zeros(at::IntArrayRef shape) { return torch::zeros(shape, xs_.options()); }

  Tensor logits() {
    if (!per_step_) return torch::linear(states_(), V_, c_);
    std::vector<Tensor> rows;
    for (const Tensor& h : states_().view({size_.T, size_.B, size_.H}).unbind(0))
      rows.push_back(torch::linear(h, V_, c_));
    return torch::cat(rows);
  }

  // ---- from ops ----
  Tensor loop() {
    Tensor h = zeros({size_.B, size_.H}), c = h;
    std::vector<Tensor> states;
    for (std::int64_t t = 0; t < size_.T; ++t) {
      const Tensor x = xs_[t];
      if (cell_ == "elman") h = torch::tanh(torch::linear(x, U_, b_) + torch::linear(h, W_));
      if (cell_ == "lstm") lstm(x, h, c);
      if (cell_ == "gru") gru(x, h);
      states.push_back(h);
    }
    return torch::cat(states);  // [T·B, H]
  }
  void lstm(const Tensor& x, Tensor& h, Tensor& c) const {
    const auto z = (torch::linear(x, U_, b_) + torch::linear(h, W_)).chunk(4, 1);
    c = torch::sigmoid(z[1]) * c + torch::sigmoid(z[0]) * torch::tanh(z[2]);
    h = torch::sigmoid(z[3]) * torch::tanh(c);
  }
  void gru(const Tensor& x, Tensor& h) const {
    const auto in = torch::linear(x, U_, b_).chunk(3, 1), rec = torch::linear(h, W_).chunk(3, 1);
    const Tensor r = torch::sigmoid(in[0] + rec[0]), z = torch::sigmoid(in[1] + rec[1]);
    const Tensor n = torch::tanh(in[2] + r * (rec[2] + bn_));
    h = n + z * (h - n);
  }

  // ---- the modules ----
  void make_module(std::int64_t G) {
    const std::int64_t H = size_.H;
    if (cell_ == "elman") take(torch::nn::RNN(torch::nn::RNNOptions(H, H)));
    if (cell_ == "lstm") take(torch::nn::LSTM(torch::nn::LSTMOptions(H, H)));
    if (cell_ == "gru") take(torch::nn::GRU(torch::nn::GRUOptions(H, H)));
    second_bias_.set_requires_grad(false).zero_();
    if (cell_ != "gru") return;
    second_bias_.slice(0, G - H).copy_(bn_);
    second_bias_.set_requires_grad(true);
    parameters_.push_back(second_bias_);
    mask_ = torch::cat({zeros({G - H}), zeros({H}) + 1});
  }
  // The module's parameters become the ones of this step.
  template <class Module>
  void take(Module module) {
    module->to(xs_.scalar_type());
    auto named = module->named_parameters();
    torch::NoGradGuard no_grad;
    const Tensor from[] = {U_, W_, b_};
    const char* const names[] = {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0"};
    for (std::size_t i = 0; i < 3; ++i) {
      named[names[i]].copy_(from[i]);
      parameters_[i] = named[names[i]];
    }
    second_bias_ = named["bias_hh_l0"];
    states_ = [this, module]() mutable {
      return std::get<0>(module->forward(xs_)).reshape({size_.T * size_.B, size_.H});
    };
  }

  std::string cell_;
  Case size_;
  bool per_step_;
  Tensor xs_, labels_, U_, W_, b_, bn_, V_, c_, second_bias_, mask_;
  std::vector<Tensor> parameters_;
  std::function<Tensor()> states_;  // [T·B, H]
};

template <class T>
int serve(const std::string& kind, const std::string& cell, const Case& size, bool per_step) {
  TorchStep<T>(kind, cell, {4, 1, 2}, per_step).step(0);  // what the library sets up on first use
  const std::int64_t before = peak_resident_bytes();
  TorchStep<T> step(kind, cell, size, per_step);
  StepRequest request;
  while (receive(STDIN_FILENO, request)) {
    StepReply reply{};
    const std::int64_t asked = allocations();
    const double cpu = cpu_seconds(), wall = wall_seconds();
    for (std::int64_t i = 0; i < request.steps; ++i) reply.loss = step.step(request.rate);
    reply.cpu_seconds = cpu_seconds() - cpu;
    reply.wall_seconds = wall_seconds() - wall;
    reply.allocations = allocations() - asked;
    reply.peak_bytes = peak_resident_bytes() - before;
    if (send(STDIN_FILENO, &reply, sizeof reply, MSG_NOSIGNAL) != sizeof reply) break;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto size = arguments.size() == 6 ? parse_case(arguments[3]) : std::nullopt;
  if (!size) {
    std::fprintf(stderr, "rnn_step starts this program; it is of no use alone\n");
    return 2;
  }
  at::set_num_threads(std::stoi(arguments[5]));
  const bool per_step = arguments[4] == "per-step";
  return arguments[2] == "float" ? serve<float>(arguments[0], arguments[1], *size, per_step)
                                 : serve<double>(arguments[0], arguments[1], *size, per_step);
}
