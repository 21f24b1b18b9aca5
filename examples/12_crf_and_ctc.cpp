// Two losses that add up all the ways in which a whole sequence can be right: a conditional random
// field, whose tags know of their neighbours, and CTC, which needs nobody to say when.
#include <random>
#include <unroll/examples/check.hpp>
#include <unroll/nn/nn.hpp>

using namespace unroll;
const std::vector<std::string> tag_names{"O", "B-PER", "I-PER", "B-LOC", "I-LOC"};
constexpr Size steps = 20, batch = 16;

// Words 0 to 9 are outside of names, 10 begins a person, 11 a place; 12 to 19 go on with either, so
// that only what stands before tells which.
std::pair<Indices, Indices> sentences(std::mt19937_64& random) {
  std::vector<std::int64_t> words, tags;
  for (Size i = 0; i < steps * batch; ++i) {
    const std::int64_t before = i < batch ? 0 : tags[static_cast<std::size_t>(i - batch)];
    const std::uint64_t die = random() % 10;
    if (before > 0 && die < 6) {
      tags.push_back(before % 2 == 1 ? before + 1 : before);
      words.push_back(12 + static_cast<std::int64_t>(random() % 8));
    } else if (die % 3 == 0) {
      tags.push_back(1 + 2 * static_cast<std::int64_t>(random() % 2));
      words.push_back(tags.back() == 1 ? 10 : 11);
    } else {
      tags.push_back(0);
      words.push_back(static_cast<std::int64_t>(random() % 10));
    }
  }
  return {Indices({steps, batch}, words), Indices({steps, batch}, tags)};
}

double share_equal(const Indices& a, const Indices& b) {
  double same = 0;
  for (Size i = 0; i < a.size(); ++i) same += a(i) == b(i);
  return same / static_cast<double>(a.size());
}

void tag_sentences(examples::Checks& checks) {
  std::mt19937_64 random(12);
  // Scores that look at one word alone: below a field, and by themselves.
  std::tuple model{Embedding<float>::make(Key(1), 20, 5), Crf<float>::make(Key(2), 5),
                   Embedding<float>::make(Key(1), 20, 5)};
  auto& [table, crf, alone] = model;
  crf.allowed = iob2_constraints<float>(tag_names);
  Adam adam(model, {.learning_rate = 0.05});
  for (int step = 0; step < 200; ++step) {
    const auto data = sentences(random);
    const auto loss = [&](const auto& below, const auto& field, const auto& plain) {
      return field.loss(below(data.first), data.second) +
             cross_entropy(plain(data.first), data.second);
    };
    adam.step(model, grad(loss)(table, crf, alone));
  }
  const auto [words, tags] = sentences(random);
  fmt::print("transitions that were learnt, log-scores:\n{:8}", "");
  for (const std::string& name : tag_names) fmt::print("{:>8}", name);
  const auto scores = crf.transitions.to_vector(), allowed = crf.allowed->transitions.to_vector();
  for (std::size_t i = 0; i < 25; ++i) {
    if (i % 5 == 0) fmt::print("\n{:>8}", tag_names[i / 5]);
    fmt::print("{:>8}", allowed[i] != 0 ? fmt::format("{:.2f}", scores[i]) : "-");
  }
  fmt::print("\n\n");
  checks.at_least("tags right, with the field", share_equal(crf.decode(table(words)).tags, tags),
                  0.99);
  checks.at_most("tags right, each word by itself", share_equal(argmax(alone(words)), tags), 0.9);
}

// Noisy frames in which each label lasts one to three frames, with a gap before it.
struct Signal {
  Var<float> frames;  // [T, B, 4]
  std::vector<std::vector<std::int64_t>> labels;
};
Signal signal(std::mt19937_64& random, std::uint64_t key) {
  Signal s{{}, std::vector<std::vector<std::int64_t>>(batch)};
  std::vector<std::int64_t> symbols(24 * batch, 0);
  for (std::size_t b = 0; b < batch; ++b) {
    for (std::size_t t = 1 + random() % 2; t + 3 < 24; t += 1 + random() % 2) {
      s.labels[b].push_back(1 + static_cast<std::int64_t>(random() % 3));
      const std::size_t lasts = 1 + random() % 3;
      for (std::size_t i = 0; i < lasts; ++i) symbols[t++ * batch + b] = s.labels[b].back();
    }
  }
  s.frames = one_hot<float>(Indices({24, batch}, symbols), 4) +
             normal<float>(fold_in(Key(5), key), {24, batch, 4}, 0, 0.2);
  return s;
}

void read_signals(examples::Checks& checks) {
  std::mt19937_64 random(13);
  std::tuple model{Gru<float>::make(Key(3), 4, 24), Linear<float>::make(Key(4), 24, 4)};
  const auto logits = [](const auto& cell, const auto& out, const Var<float>& frames) {
    return out(unroll::unroll(cell, frames, cell.initial_state(batch)).outputs);
  };
  Adam adam(model, {.learning_rate = 0.02});
  for (std::uint64_t step = 0; step < 300; ++step) {
    const Signal s = signal(random, step);
    const auto loss = [&](const auto& cell, const auto& out) {
      return mean(ctc_loss(logits(cell, out, s.frames), ctc_targets(s.labels)));
    };
    adam.step(model, clip_by_norm(grad(loss)(std::get<0>(model), std::get<1>(model)), 1.0));
  }
  const Signal s = signal(random, 1000);
  const Var<float> z = logits(std::get<0>(model), std::get<1>(model), s.frames);
  const auto greedy = ctc_greedy(z);
  double right = 0;
  for (std::size_t b = 0; b < batch; ++b) right += greedy[b] == s.labels[b];
  checks.at_least("labellings right that were not seen, decoded greedily", right / batch, 0.85);
  // The second best, which is seldom right, is worth the same to the beam and to the loss.
  const auto second = ctc_beam_search(z, 50)[0][1];
  const auto loss = ctc_loss(slice(z, 1, {0, 1}), ctc_targets({second.labels}));
  checks.near("-log p of a wrong labelling", loss.item(), -second.log_probability, 1e-4);
}

int main() {
  examples::Checks checks;
  tag_sentences(checks);
  read_signals(checks);
  return checks.exit_code();
}
