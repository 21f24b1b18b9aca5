// Words spelled backwards: an encoder reads a word, a decoder with attention writes it from its end.
// Nobody tells the decoder where to look; what it learnt is printed as a picture.
#include <unroll/examples/check.hpp>
#include <unroll/nn/nn.hpp>

#include <random>

using namespace unroll;

constexpr std::int64_t begin_token = 0, end_token = 1, first_letter = 2;
constexpr Size letters = 8, vocabulary = first_letter + letters, longest = 8, hidden = 48;
constexpr DecoderSizes sizes{
    .vocabulary = vocabulary, .embedding = 16, .hidden = hidden, .context = hidden};

struct Speller {
  using Decoder = LuongDecoder<float, Gru<float>, GeneralAttention<float>>;
  Embedding<float> embedding;
  Gru<float> encoder;
  Decoder decoder;
  static constexpr auto fields() {
    return std::tuple{field("embedding", &Speller::embedding), field("encoder", &Speller::encoder),
                      field("decoder", &Speller::decoder)};
  }
  static Speller make(const Key& key) {
    const auto k = split<4>(key);
    return {Embedding<float>::make(k[0], vocabulary, 16), Gru<float>::make(k[1], 16, hidden),
            Decoder::make(k[2], GeneralAttention<float>::make(k[3], hidden, hidden), sizes)};
  }
  auto read(const Indices& words, const Indices& lengths) const {
    const auto run =
        unroll::unroll(encoder, embedding(words), encoder.initial_state(lengths.size()));
    return attending(decoder, run.outputs, length_mask<float>(lengths, words.shape()[0]));
  }
  auto start(Size batch) const { return decoder.start(decoder.cell.initial_state(batch)); }
};

// Random words of 2 to `longest` letters, as columns; what the decoder is to say, and what it is fed.
struct Batch {
  Indices words, lengths, targets, inputs;
};
Batch random_batch(std::mt19937_64& random, Size size) {
  const std::size_t B = static_cast<std::size_t>(size), steps = longest + 1;
  std::vector<std::int64_t> words(longest * B, end_token), lengths, targets(steps * B, end_token);
  for (std::size_t b = 0; b < B; ++b) {
    const std::size_t n = 2 + random() % (longest - 1);
    lengths.push_back(static_cast<std::int64_t>(n));
    for (std::size_t t = 0; t < n; ++t) {
      words[t * B + b] = targets[(n - 1 - t) * B + b] =
          first_letter + static_cast<std::int64_t>(random() % letters);
    }
  }
  std::vector<std::int64_t> inputs(B, begin_token);
  inputs.insert(inputs.end(), targets.begin(), targets.end() - size);
  return {Indices({longest, size}, words), Indices(lengths), Indices({longest + 1, size}, targets),
          Indices({longest + 1, size}, inputs)};
}

std::string column(const Indices& words, Size b) {
  std::string text;
  for (Size t = 0; t < words.shape()[0] && words[t](b) != end_token; ++t) {
    text += static_cast<char>('a' + words[t](b) - first_letter);
  }
  return text;
}

int main() {
  std::mt19937_64 random(11);
  Speller net = Speller::make(Key(11));
  Adam adam(net);
  fmt::print("an encoder and a decoder with attention, {} parameters\n", parameter_count(net));
  double loss = 0;
  for (int step = 1; step <= 1200; ++step) {
    adam.options.learning_rate = 0.005 * (1 - step / 1201.0);
    const Batch batch = random_batch(random, 32);
    const auto [value, gradient] = value_and_grad(
        [&](const Speller& n) {
          const auto taught =
              teacher_forced(n.read(batch.words, batch.lengths), batch.inputs, n.start(32));
          return cross_entropy(taught.outputs, batch.targets);
        },
        net);
    adam.step(net, clip_by_norm(gradient, 1.0));
    loss = value.item();
    if (step % 300 == 0) fmt::print("  step {}: loss {:.4f}\n", step, loss);
  }

  const Batch test = random_batch(random, 500);
  const auto reader = net.read(test.words, test.lengths);
  const auto found =
      beam_search(Indices(std::vector<std::int64_t>(500, begin_token)), net.start(500), reader,
                  {.beam = 4}, {.max_length = longest + 1, .end = end_token});
  double right = 0;
  for (Size b = 0; b < 500; ++b) {
    const auto& tokens = found[static_cast<std::size_t>(b)][0].tokens;
    const Indices said({static_cast<Size>(tokens.size()), 1}, tokens);
    right += column(said, 0) == column(test.targets, b);
  }

  // The attention of a long word: a row for each letter written, a column for each read.
  Size shown = 0;
  while (test.lengths(shown) < longest) ++shown;
  const std::vector<float> map =
      index(attention_map(reader, test.inputs, net.start(500)), 1, shown).to_vector();
  const std::string word = column(test.words, shown), written = column(test.targets, shown);
  fmt::print("\n      {}\n", fmt::join(word, "    "));
  double on_diagonal = 0;
  for (std::size_t t = 0; t < word.size(); ++t) {
    const auto row = std::span(map).subspan(t * longest, longest);
    fmt::print("  {} {:.2f}\n", written[t], fmt::join(row, " "));
    on_diagonal += row[longest - 1 - t] / double(longest);
  }
  fmt::print("\n");
  examples::Checks checks;
  checks.at_most("loss after 1200 steps", loss, 0.05);
  checks.at_least("unseen words spelled backwards, beam of 4", right / 500, 0.98);
  checks.at_least("mean attention to the letter being written", on_diagonal, 0.5);
  return checks.exit_code();
}
