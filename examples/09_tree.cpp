// A network whose shape is the data: logical formulas as binary trees, each computed, and
// differentiated, along its own structure. Only the truth of the whole formula is told; what "and",
// "or" and "xor" do is learned.
#include <unroll/autograd/transforms.hpp>
#include <unroll/examples/check.hpp>
#include <unroll/models/tree_network.hpp>
#include <unroll/nn/losses.hpp>
#include <unroll/nn/optimizers.hpp>

#include <set>

using namespace unroll;

using Net = TreeNetwork<float>;

// The mean loss of a batch of trees, no two of them alike in shape.
Var<float> loss(const Net& net, const std::vector<Formula>& formulas) {
  std::vector<Var<float>> logits, truth;
  for (const Formula& f : formulas) {
    logits.push_back(net.logit(f));
    truth.push_back(Var<float>({1}, {f.value() ? 1.0F : 0.0F}));
  }
  return binary_cross_entropy_with_logits(concat(logits), concat(truth));
}

double share_right(const Net& net, const std::vector<Formula>& formulas) {
  double right = 0;
  for (const Formula& f : formulas) right += (net.logit(f).item() > 0) == f.value();
  return right / static_cast<double>(formulas.size());
}

int main() {
  std::mt19937_64 random(9);
  std::set<std::string> seen;  // by training
  Net net = Net::make(Key(9), 16);
  Adam adam(net, {.learning_rate = 0.01});
  fmt::print("a recursive network with {} parameters learns formulas of up to 8 leaves\n",
             parameter_count(net));
  for (int step = 1; step <= 800; ++step) {
    std::vector<Formula> batch;
    for (int i = 0; i < 32; ++i) {
      batch.push_back(random_formula(random, 1 + random() % 8));
      seen.insert(batch.back().text);
    }
    const auto [value, gradient] =
        value_and_grad([&](const Net& n) { return loss(n, batch); }, net);
    adam.step(net, clip_by_norm(gradient, 1.0));
    if (step % 200 == 0) fmt::print("  step {}: loss {:.4f}\n", step, value.item());
  }

  // Formulas that training has not seen: of the sizes it had, and larger ones.
  const auto held_out = [&](std::size_t least, std::size_t most) {
    std::vector<Formula> out;
    while (out.size() < 1000) {
      Formula f = random_formula(random, least + random() % (most - least + 1));
      if (!seen.contains(f.text)) out.push_back(std::move(f));
    }
    return out;
  };
  const auto same = held_out(5, 8), larger = held_out(9, 20);
  fmt::print("{}\nis {}; the network says {:.4f} for its being true\n", larger[0].text,
             larger[0].value() ? "true" : "false", sigmoid(net.logit(larger[0])).item());
  examples::Checks checks;
  checks.at_least("right, held out, 5 to 8 leaves", share_right(net, same), 0.97);
  checks.at_least("right, held out, 9 to 20 leaves", share_right(net, larger), 0.95);
  return checks.exit_code();
}
