#include "unroll/models/compose_music/writer.hpp"

#include "unroll/models/training/answer_lines.hpp"
#include "unroll/models/training/training_loop.hpp"

namespace unroll {

namespace {

constexpr std::string_view kind = "compose_music";
constexpr Size largest_size = 65536;

// A text, and what the model knows after it: copied and taken back as a value.
struct Draft {
  std::u32string text;
  Composer::State state;
  Var<float> logits;  // [1, characters] of the next one
};

class Pen {
 public:
  Pen(const SavedComposer& composer, const Key& key, const ComposeOptions& options)
      : composer_(composer), key_(key), options_(options) {
    draft_.state = composer.model.initial_state(1);
    read(U'\n');
  }

  [[nodiscard]] char32_t draw() {
    const auto scaled = draft_.logits / float(options_.temperature);
    const auto id = categorical(fold_in(key_, drawn_++), scaled)(0);
    return id == Vocabulary::unknown() ? U' ' : composer_.vocabulary.character(id);
  }
  void write(char32_t c) {
    read(c);
    draft_.text += c;
  }
  void write(std::string_view text) {
    const auto decoded = from_utf8(text);
    if (!decoded) fail("compose", "the request is not UTF-8");
    for (const char32_t c : *decoded) {
      if (composer_.vocabulary.id(c) == Vocabulary::unknown()) {
        fail("compose", "the model was trained on texts without \"" + to_utf8({&c, 1}) + "\"");
      }
      write(c);
    }
  }
  [[nodiscard]] bool full() const { return Size(draft_.text.size()) >= options_.max_length; }
  [[nodiscard]] const std::u32string& text() const { return draft_.text; }
  [[nodiscard]] const Draft& draft() const { return draft_; }
  void take_back(const Draft& to) { draft_ = to; }

 private:
  void read(char32_t c) {
    std::tie(draft_.logits, draft_.state) =
        composer_.model.step(Indices({1}, {composer_.vocabulary.id(c)}), draft_.state);
  }

  const SavedComposer& composer_;
  Key key_;
  ComposeOptions options_;
  std::uint64_t drawn_ = 0;
  Draft draft_;
};

// Lines are fields, "T:", or comments; the first is X: and the last K:.
void write_header(Pen& pen, const TuneRequest& request) {
  constexpr int most_lines = 16, longest_line = 100, most_draws = 100;
  const auto letter = [](char32_t c) {
    return (c >= U'A' && c <= U'Z') || (c >= U'a' && c <= U'z');
  };
  const auto rest_of_line = [&] {
    char32_t c = pen.draw();
    for (int i = 0; c != U'\n' && i < longest_line; ++i, c = pen.draw()) pen.write(c);
    pen.write(U'\n');
  };
  const auto line = [&](char name, const std::string& value) {
    pen.write(std::string{name, ':'} + value);
    if (value.empty()) return rest_of_line();
    pen.write(U'\n');
  };
  line('X', "");
  bool metre_written = request.metre.empty();
  for (int lines = 1;; ++lines) {
    char32_t c = pen.draw();
    for (int i = 0; c == U'X' || (!letter(c) && c != U'%'); ++i)
      c = i < most_draws ? pen.draw() : U'K';
    if (c == U'K' || lines >= most_lines) break;
    if (c == U'%') {
      pen.write(c);  // or what follows could become a field
      rest_of_line();
    } else {
      line(char(c), c == U'M' ? request.metre : "");
      metre_written = metre_written || c == U'M';
    }
  }
  if (!metre_written) line('M', request.metre);
  line('K', request.key);
}

std::optional<AbcTune> readable(const std::string& text) {
  BadData bad(OnBadData::skip);
  auto tunes = parse_abc(text, "tune", bad);
  if (tunes.size() != 1 || bad.skipped() > 0) return {};
  return std::move(tunes.front());
}

// Of a tune whose last bar was just closed: whether that bar may stay.
bool last_bar_is_right(const std::string& text) {
  const auto tune = readable(text);
  if (!tune) return false;
  if (tune->bars.empty()) return true;
  const BarFit fit = check_bars(*tune).back();
  // What begins a section may be completed by a bar that is still to come.
  return fit == BarFit::exact || fit == BarFit::part ||
         (fit == BarFit::too_short && tune->bars.back().opens_section);
}

bool ends_with_bar_line(const std::u32string& text) {
  return !text.empty() && std::u32string_view(U"|:]").find(text.back()) != std::u32string::npos &&
         text.find_last_of(U'|') != std::u32string::npos &&
         text.find_first_not_of(U"|:]", text.find_last_of(U'|')) == std::u32string::npos;
}

void write_music(Pen& pen, Size redraws) {
  const std::size_t begin = pen.text().size();
  Draft before_bar = pen.draft();
  for (Size drawn_again = 0; !pen.full();) {
    const char32_t c = pen.draw();
    const bool end = c == U'\n' && pen.text().back() == U'\n';
    if (end && pen.text().size() == begin && drawn_again++ < redraws) continue;  // no music yet
    const bool bar_line_complete = ends_with_bar_line(pen.text()) &&
                                   std::u32string_view(U"|:]").find(c) == std::u32string::npos;
    if ((end || bar_line_complete) && pen.text().size() > before_bar.text.size()) {
      if (drawn_again < redraws && !last_bar_is_right(to_utf8(pen.text()))) {
        pen.take_back(before_bar);
        ++drawn_again;
        continue;
      }
      before_bar = pen.draft();
      drawn_again = 0;
    }
    if (end) return;
    pen.write(c);
  }
  if (pen.text().back() != U'\n') pen.write(U'\n');
}

}  // namespace

Metadata composer_metadata(const ComposerSizes& sizes, const Vocabulary& vocabulary) {
  return {{"program", std::string(kind)},
          {"vocabulary", vocabulary.to_string()},
          {"embedding", std::to_string(sizes.embedding)},
          {"hidden", std::to_string(sizes.hidden)},
          {"layers", std::to_string(sizes.layers)}};
}

SavedComposer load_composer(const std::filesystem::path& path) {
  const Metadata metadata = saved_metadata(path);
  const std::string file = path.string();
  const auto program = metadata.find("program");
  const auto characters = metadata.find("vocabulary");
  if (program == metadata.end() || program->second != kind || characters == metadata.end()) {
    throw FormatError(file, "this is no model of compose_music");
  }
  const Vocabulary vocabulary = Vocabulary::from_string(characters->second);
  Composer model =
      Composer::make(Key(), {.characters = vocabulary.size(),
                             .embedding = size_in(metadata, "embedding", file, largest_size),
                             .hidden = size_in(metadata, "hidden", file, largest_size),
                             .layers = size_in(metadata, "layers", file, largest_size)});
  load(path, model);
  return {std::move(model), vocabulary};
}

TuneRequest parse_request(std::string_view line, const std::string& name, std::int64_t number,
                          const Vocabulary* known) {
  const std::string example = "a request such as \"K:G M:6/8 | GABc\"";
  TuneRequest request;
  request.number = std::to_string(number);
  const auto bar = line.find('|');
  std::string_view fields = line.substr(0, bar);
  const auto next_field = [&] { return fields.find_first_not_of(" \t\r"); };
  for (auto at = next_field(); at != std::string_view::npos; at = next_field()) {
    fields.remove_prefix(at);
    // "K:A minor M:6/8": a value goes on to the next field.
    std::size_t end = fields.find_first_of(" \t\r");
    while (end != std::string_view::npos && end + 2 < fields.size() && fields[end + 2] != ':') {
      const auto blank = fields.find_first_of(" \t\r", end + 1);
      end = blank;
    }
    const std::string_view one = fields.substr(0, end);
    fields.remove_prefix(one.size());
    if (one.starts_with("K:")) {
      request.key = one.substr(2);
    } else if (one.starts_with("M:")) {
      request.metre = one.substr(2);
    } else {
      throw DataError(name, number, example, "\"" + std::string(one) + "\"");
    }
  }
  try {
    (void)abc_key(request.key);
    (void)abc_metre(request.metre);
  } catch (const std::invalid_argument& error) {
    throw DataError(name, number, example, error.what());
  }
  if (bar != std::string_view::npos) {
    std::string_view notes = line.substr(bar + 1);
    const auto first = notes.find_first_not_of(" \t\r");
    if (first != std::string_view::npos) {
      request.notes = notes.substr(first, notes.find_last_not_of(" \t\r") + 1 - first);
    }
  }
  if (!readable("X:1\nK:C\n" + request.notes + "\n")) {
    throw DataError(name, number, example, "notes that are no ABC: \"" + request.notes + "\"");
  }
  if (!known) return request;
  const auto decoded = from_utf8(request.key + request.metre + request.notes);
  if (!decoded) throw DataError(name, number, "UTF-8");
  for (const char32_t c : *decoded) {
    if (known->id(c) == Vocabulary::unknown()) {
      throw DataError(name, number, "characters that the model was trained on",
                      "\"" + to_utf8({&c, 1}) + "\"");
    }
  }
  return request;
}

std::string compose(const SavedComposer& composer, const TuneRequest& request, const Key& key,
                    const ComposeOptions& options) {
  if (!(options.temperature > 0) || options.redraws < 0 || options.max_length < 1) {
    fail("compose", "the temperature and max_length must be positive, redraws not negative");
  }
  Pen pen(composer, key, options);
  const Draft blank = pen.draft();
  write_header(pen, request);
  for (Size i = 0; i < options.redraws && !readable(to_utf8(pen.text())); ++i) {
    pen.take_back(blank);
    write_header(pen, request);
  }
  pen.write(request.notes);
  write_music(pen, options.redraws);
  const std::string text = to_utf8(pen.text());
  return request.number.empty() ? text : "X:" + request.number + text.substr(text.find('\n'));
}

std::vector<std::string> compose_many(const SavedComposer& composer, Size count, const Key& key,
                                      const ComposeOptions& options) {
  std::vector<std::string> tunes;
  for (Size i = 0; i < count; ++i) {
    tunes.push_back(compose(composer, {}, fold_in(key, std::uint64_t(i)), options));
  }
  return tunes;
}

BarShares bar_shares(std::span<const std::string> texts) {
  BarShares shares;
  for (const std::string& text : texts) {
    const auto tune = readable(text);
    if (!tune) continue;
    const auto fits = check_bars(*tune);
    shares.readable += no_bar_too_long(fits) / double(texts.size());
    shares.exact += all_bars_exact(fits) / double(texts.size());
  }
  return shares;
}

}  // namespace unroll
