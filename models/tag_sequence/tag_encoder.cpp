#include "unroll/models/tag_sequence/tag_encoder.hpp"

#include <cctype>
#include <set>

#include "unroll/models/data/text_lines.hpp"
#include "unroll/models/training/training_loop.hpp"

namespace unroll {
namespace {

std::string looked_up(std::string word) {
  for (char& c : word) {
    const auto byte = static_cast<unsigned char>(c);
    c = std::isdigit(byte) ? '0' : static_cast<char>(std::tolower(byte));
  }
  return word;
}

std::string entry(const Metadata& metadata, const std::string& name,
                  const std::filesystem::path& file) {
  const auto found = metadata.find(name);
  if (found == metadata.end()) {
    throw FormatError(file.string(), "is no model of tag_sequence: it has no entry \"" + name +
                                         "\" (a best model, FILE.best.safetensors, has)");
  }
  return found->second;
}

}  // namespace

std::string word_shape(std::string_view word) {
  std::string shape;
  for (const char c : word) {
    const auto byte = static_cast<unsigned char>(c);
    const char kind = std::isupper(byte)                   ? 'X'
                      : std::islower(byte) || byte >= 0x80 ? 'x'
                      : std::isdigit(byte)                 ? 'd'
                                                           : c;
    if (shape.empty() || shape.back() != kind) shape += kind;
  }
  return shape;
}

TagEncoder TagEncoder::of(std::span<const TaggedSentence> training) {
  std::vector<std::vector<std::string>> words, letters, shapes;
  std::set<std::string> types;
  for (const TaggedSentence& s : training) {
    auto& own_words = words.emplace_back();
    auto& own_shapes = shapes.emplace_back();
    for (const std::string& w : s.words) {
      own_words.push_back(looked_up(w));
      own_shapes.push_back(word_shape(w));
      letters.push_back(split_characters(w));
    }
    for (const std::string& tag : s.tags) {
      if (tag != "O") types.insert(tag.substr(2));
    }
  }
  std::vector<std::string> tags{"O"};
  for (const std::string& type : types) tags.insert(tags.end(), {"B-" + type, "I-" + type});
  const TokenVocabularyOptions often{.least_count = 2, .specials = {"<unk>"}};
  return {.words = TokenVocabulary::of(words, often),
          .letters = TokenVocabulary::of(letters, often),
          .shapes = TokenVocabulary::of(shapes, often),
          .tags = TokenVocabulary::of({}, {.specials = tags})};
}

TaggerOptions TagEncoder::sizes(TaggerOptions options, bool with_letters, bool with_shapes) const {
  options.words = words.size();
  options.letters = with_letters ? letters.size() : 0;
  options.shapes = with_shapes ? shapes.size() : 0;
  return options;
}

TagEncoder::Sentence TagEncoder::encode(const TaggedSentence& sentence) const {
  Sentence s{.spelled = sentence.words};
  for (const std::string& w : sentence.words) {
    s.words.push_back(words.id(looked_up(w)));
    s.shapes.push_back(shapes.id(word_shape(w)));
  }
  for (const std::string& tag : to_iob2(sentence.tags)) {
    s.tags.push_back(tags.id(tags.contains(tag) ? tag : "O"));
  }
  s.tags.resize(s.words.size(), tags.id("O"));
  return s;
}

TaggingBatch TagEncoder::batch(std::span<const Sentence* const> sentences) const {
  using Ids = std::vector<std::int64_t>;
  std::map<std::string_view, std::int64_t> distinct;
  std::vector<Ids> spellings, spelling_of(sentences.size());
  std::vector<Size> lengths, letter_lengths;
  for (std::size_t i = 0; i < sentences.size(); ++i) {
    lengths.push_back(Size(sentences[i]->words.size()));
    for (const std::string& w : sentences[i]->spelled) {
      const auto [at, is_new] = distinct.emplace(w, Size(spellings.size()));
      if (is_new) {
        spellings.push_back(letters.encode(split_characters(w)));
        letter_lengths.push_back(Size(spellings.back().size()));
      }
      spelling_of[i].push_back(at->second);
    }
  }
  const auto packed = [](const auto& lists, const PackedLayout& layout, auto&& ids) {
    std::vector<const Ids*> pointers;
    for (const auto& list : lists) pointers.push_back(&ids(list));
    return packed_ids(pointers, layout);
  };
  const auto itself = [](const Ids& ids) -> const Ids& { return ids; };
  const auto of = [](auto member) {
    return [=](const Sentence* s) -> const Ids& { return s->*member; };
  };
  TaggingBatch b{.layout = std::make_shared<const PackedLayout>(Lengths(lengths)),
                 .letters_layout = std::make_shared<const PackedLayout>(Lengths(letter_lengths))};
  b.words = packed(sentences, *b.layout, of(&Sentence::words));
  b.shapes = packed(sentences, *b.layout, of(&Sentence::shapes));
  b.spelling = packed(spelling_of, *b.layout, itself);
  b.letters = packed(spellings, *b.letters_layout, itself);
  const Size steps = b.layout->lengths.longest(), count = Size(sentences.size());
  Ids tag_ids(std::size_t(steps * count), 0);
  for (Size i = 0; i < count; ++i) {
    const Ids& own = sentences[std::size_t(i)]->tags;
    for (Size t = 0; t < Size(own.size()); ++t) {
      tag_ids[std::size_t(t * count + i)] = own[std::size_t(t)];
    }
  }
  b.tags = Indices({steps, count}, tag_ids);
  return b;
}

Metadata TagEncoder::metadata(const Tagger& tagger) const {
  const auto yes_no = [](bool is) { return std::string(is ? "yes" : "no"); };
  return {{"program", "tag_sequence"},
          {"words", words.to_string()},
          {"letters", letters.to_string()},
          {"shapes", shapes.to_string()},
          {"tags", tags.to_string()},
          {"uses_letters", yes_no(tagger.letters.has_value())},
          {"uses_shapes", yes_no(tagger.shapes.has_value())},
          {"uses_crf", yes_no(tagger.crf.has_value())}};
}

TagEncoder TagEncoder::from_metadata(const Metadata& metadata, const std::filesystem::path& file) {
  const auto vocabulary = [&](const std::string& name) {
    return TokenVocabulary::from_string(entry(metadata, name, file));
  };
  return {vocabulary("words"), vocabulary("letters"), vocabulary("shapes"), vocabulary("tags")};
}

LoadedTagger load_tagger(const std::filesystem::path& file) {
  const Metadata metadata = saved_metadata(file);
  LoadedTagger all{.encoder = TagEncoder::from_metadata(metadata, file), .tagger = {}};
  const auto has = [&](const std::string& part) { return entry(metadata, part, file) == "yes"; };
  Tagger& t = all.tagger;  // empty arrays take the shapes that the file has
  if (has("uses_letters")) t.letters.emplace(), t.speller.emplace();
  if (has("uses_shapes")) t.shapes.emplace();
  if (has("uses_crf")) t.crf.emplace().allowed.emplace();
  (void)load(file, t);
  return all;
}

}  // namespace unroll
