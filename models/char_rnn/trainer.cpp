#include "unroll/models/char_rnn/trainer.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "unroll/models/training/dataset.hpp"
#include "unroll/models/training/gradient_sum.hpp"

namespace unroll {
namespace {

constexpr Size warm_up = 20;  // steps in which the learning rate rises

// Keys of their own for what is drawn: the weights, the masks of dropout, samples.
enum class Use : std::uint64_t { weights, dropout, sample };
Key key_for(std::uint64_t seed, Use use) {
  return fold_in(Key(seed), static_cast<std::uint64_t>(use));
}

void check(const CharRnnOptions& o) {
  const auto positive = [](const char* name, double value) {
    if (!(value > 0)) fail("char_rnn", std::string(name) + " must be positive");
  };
  positive("hidden", double(o.hidden));
  positive("embedding", double(o.embedding));
  positive("streams", double(o.streams));
  positive("window", double(o.window));
  positive("learning_rate", o.learning_rate);
  positive("half_life", o.half_life);
  positive("clip", o.clip);
  positive("shards", double(o.shards));
  if (!(o.dropout >= 0 && o.dropout < 1)) fail("char_rnn", "dropout must lie in [0, 1)");
}

const CharRnnOptions& checked(const CharRnnOptions& options) {
  check(options);
  return options;
}

// The held-out text, after a character for its beginning: so all of it is predicted.
std::vector<std::int64_t> after_unknown(std::vector<std::int64_t> ids) {
  ids.insert(ids.begin(), Vocabulary::unknown());
  return ids;
}

}  // namespace

CharRnnTrainer::CharRnnTrainer(TextSplit text, const CharRnnOptions& options, std::size_t threads)
    : text_(std::move(text)),
      options_(checked(options)),
      vocabulary_(text_.training),
      streams_(vocabulary_.encode(text_.training),
               {.streams = options.streams, .window = options.window}),
      held_out_(after_unknown(vocabulary_.encode(text_.held_out)),
                {.streams = 32, .window = options.window}),
      model_(CharRnn<float>::make(key_for(options.seed, Use::weights),
                                  {.characters = vocabulary_.size(),
                                   .embedding = options.embedding,
                                   .hidden = options.hidden})),
      adam_(model_),
      workers_(std::make_unique<Workers>(threads)) {
  options_.shards = std::min(options_.shards, streams_.streams());
  for (Size i = 0; i < options_.shards; ++i) {
    states_.push_back(
        model_.initial_state(index_range(streams_.streams(), i, options_.shards).count));
  }
}

double CharRnnTrainer::learning_rate() const {
  const double rise = std::min(1.0, double(steps() + 1) / double(warm_up));
  return options_.learning_rate * rise * std::exp2(-double(steps()) / options_.half_life);
}

double CharRnnTrainer::step() {
  const Size window = steps() % streams_.windows();
  const Key drop = fold_in(key_for(options_.seed, Use::dropout), std::uint64_t(steps()));
  std::vector<LstmState<float>> states(states_.size());
  GradientSum<CharRnn<float>> total;
  total.add(*workers_, states.size(), [&](std::size_t i) {
    const IndexRange part = index_range(streams_.streams(), Size(i), options_.shards);
    const TextWindow text = streams_.window(window, part.first, part.count);
    // A pass over the text begins without memory.
    const auto before = window == 0 ? model_.initial_state(part.count) : states_[i];
    auto [sum, after] = weighted_gradient(
        [&](const CharRnn<float>& net) {
          auto [loss, state] = net.loss(text.inputs, text.targets, before,
                                        {.rate = options_.dropout, .key = fold_in(drop, i)});
          return std::pair{Weighted<float>{loss, double(text.targets.size())}, std::move(state)};
        },
        model_);
    states[i] = std::move(after);
    return sum;
  });
  StepFigures figures = total.figures(learning_rate());
  adam_.options.learning_rate = figures.learning_rate;
  adam_.step(model_, total.mean(figures.gradient_norm, options_.clip));
  states_ = std::move(states);

  figures.loss /= std::numbers::ln2;
  history_.add(figures, steps_per_point);
  history_.epoch = steps() / streams_.windows();
  history_.batch = steps() % streams_.windows();
  if (steps() % steps_per_point == 0) {
    history_.validation.push_back(
        {.step = double(steps()), .epoch = double(history_.epoch), .loss = held_out_bits()});
  }
  return figures.loss;
}

double CharRnnTrainer::held_out_bits() {
  const Size shards = std::min(options_.shards, held_out_.streams());
  std::vector<double> sums(static_cast<std::size_t>(shards));
  workers_->run(sums.size(), [&](std::size_t i) {
    const IndexRange part = index_range(held_out_.streams(), Size(i), shards);
    LstmState<float> state = model_.initial_state(part.count);
    for (Size w = 0; w < held_out_.windows(); ++w) {
      const TextWindow text = held_out_.window(w, part.first, part.count);
      auto [loss, after] = model_.loss(text.inputs, text.targets, state);
      sums[i] += double(loss.item()) * double(text.targets.size());
      state = std::move(after);
    }
  });
  double sum = 0;
  for (const double part : sums) sum += part;
  return sum / double(held_out_.characters()) / std::numbers::ln2;
}

std::u32string CharRnnTrainer::sample(std::u32string_view prompt, Size count, std::uint64_t seed,
                                      double temperature) const {
  if (!(temperature > 0)) fail("char_rnn", "the temperature must be positive");
  const Key key = fold_in(key_for(options_.seed, Use::sample), seed);
  std::vector<std::int64_t> ids = vocabulary_.encode(prompt);
  if (ids.empty()) ids.push_back(vocabulary_.id(U'\n'));
  LstmState<float> state = model_.initial_state(1);
  Var<float> scores;
  const auto read = [&](std::int64_t id) {
    auto [logits, after] = model_.logits(Indices({1, 1}, {id}), state);
    scores = reshape(logits, {vocabulary_.size()});
    state = std::move(after);
  };
  for (const std::int64_t id : ids) read(id);
  std::u32string text(prompt);
  for (Size i = 0; i < count; ++i) {
    const std::int64_t id =
        categorical(fold_in(key, std::uint64_t(i)), scores * (1 / temperature))(0);
    text += vocabulary_.character(id);
    read(id);
  }
  return text;
}

}  // namespace unroll
