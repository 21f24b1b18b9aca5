// Two small translation tasks without any data: numbers to words, and dates to their ISO form.
//
//   std::vector<TextPair> pairs = generate_pairs(Key(1), 10000, TranslationTask::both);
//   // 4 0 7 0            four thousand and seventy
//   // the 3 rd of march 1 9 9 8      1 9 9 8 - 0 3 - 0 3
//
// Each source has one right answer, so the best possible exact match is 1. Digits are tokens of their own: a number
// that was never seen consists of what was. Invariant: no source occurs twice; a function of key, count and task.
#pragma once

#include "unroll/autograd/random.hpp"
#include "unroll/models/data/parallel_text.hpp"

namespace unroll {

enum class TranslationTask { numbers, dates, both };

/// Throws std::invalid_argument for a count outside 0..100000, beyond which different sources become rare.
[[nodiscard]] std::vector<TextPair> generate_pairs(const Key& key, Size count,
                                                   TranslationTask task = TranslationTask::both);

/// 1 to 999999, as one writes them out: "four thousand and seventy".
[[nodiscard]] std::string number_in_words(Size number);

struct Date {
  Size year = 2000, month = 1, day = 1;
};
/// The ways in which dates are written, numbered from 0; two digits of a year are those of 1950 to 2049.
inline constexpr Size date_forms = 5;
[[nodiscard]] std::string written_date(const Date& date, Size form);

}  // namespace unroll
