#include "unroll/models/translate/corpus.hpp"

#include "unroll/models/data/split_of.hpp"

namespace unroll {

ParallelCorpus split_pairs(std::vector<TextPair> pairs) {
  auto parts = split_examples(std::move(pairs));
  return {std::move(parts[Split::training]), std::move(parts[Split::validation]),
          std::move(parts[Split::test])};
}

ParallelCorpus read_parallel_corpus(const CorpusFiles& files, BadData& bad) {
  const std::filesystem::path path = files.path;
  if (std::filesystem::is_directory(path)) {
    const auto read = [&](const std::string& name) {
      return read_parallel_lines(path / (name + "." + files.from), path / (name + "." + files.to),
                                 bad);
    };
    return {read("train"), read("val"), read(files.test)};
  }
  std::vector<TextPair> pairs = read_parallel_tsv(path, bad);
  if (pairs.size() < 10) {
    fail("read_parallel_corpus", path.string() + " holds " + std::to_string(pairs.size()) +
                                     " pairs; to have some for validation and test it takes 10");
  }
  return split_pairs(std::move(pairs));
}

ParallelCorpus generated_corpus(Size count, TranslationTask task) {
  return split_pairs(generate_pairs(Key(0x7472616e73), count, task));
}

TranslationTask task_named(const std::string& name) {
  if (name == "numbers") return TranslationTask::numbers;
  if (name == "dates") return TranslationTask::dates;
  if (name == "both") return TranslationTask::both;
  fail("task_named", "there is no task \"" + name + "\"; there are numbers, dates and both");
}

}  // namespace unroll
