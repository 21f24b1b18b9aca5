#include "unroll/models/translate/generator.hpp"

#include <array>
#include <set>

#include "unroll/models/data/token_vocabulary.hpp"

namespace unroll {
namespace {

constexpr std::array below_twenty{"",        "one",     "two",       "three",    "four",
                                  "five",    "six",     "seven",     "eight",    "nine",
                                  "ten",     "eleven",  "twelve",    "thirteen", "fourteen",
                                  "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"};
constexpr std::array tens{"",      "",      "twenty",  "thirty", "forty",
                          "fifty", "sixty", "seventy", "eighty", "ninety"};
constexpr std::array months{"january", "february", "march",     "april",   "may",      "june",
                            "july",    "august",   "september", "october", "november", "december"};

constexpr Size first_year = 1950, years = 100;

// The last `width` digits, or all of them, with spaces between.
std::string digits(Size number, std::size_t width = 0) {
  std::string all = std::to_string(number);
  if (width > 0) all = (std::string(width, '0') + all).substr(all.size());
  std::string out;
  for (const char c : all) (out += out.empty() ? "" : " ") += c;
  return out;
}

// 0 to 99; what comes before stands apart.
std::string small_number(Size n) {
  if (n < 20) return below_twenty[std::size_t(n)];
  const std::string ten = tens[std::size_t(n / 10)];
  return n % 10 == 0 ? ten : ten + " " + below_twenty[std::size_t(n % 10)];
}

// 1 to 999
std::string below_thousand(Size n) {
  if (n < 100) return small_number(n);
  const std::string hundreds = small_number(n / 100) + " hundred";
  return n % 100 == 0 ? hundreds : hundreds + " and " + small_number(n % 100);
}

Size days_in(Size year, Size month) {
  if (month == 2) return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28;
  return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

const char* ordinal(Size day) {
  if (day / 10 == 1) return "th";
  return day % 10 == 1 ? "st" : day % 10 == 2 ? "nd" : day % 10 == 3 ? "rd" : "th";
}

// One number, evenly over low, ..., high.
Size draw(const Key& key, Size low, Size high) { return randint(key, {1}, low, high + 1)(0); }

// Each number of digits is as likely as any other.
TextPair draw_number(const Key& key) {
  const auto [a, b] = split(key);
  Size low = 1;
  for (Size length = draw(a, 1, 6); length > 1; --length) low *= 10;
  const Size number = draw(b, low, 10 * low - 1);
  return {split_words(digits(number)), split_words(number_in_words(number))};
}

TextPair draw_date(const Key& key) {
  const auto k = split<4>(key);
  Date date{.year = draw(k[0], first_year, first_year + years - 1), .month = draw(k[1], 1, 12)};
  date.day = draw(k[2], 1, days_in(date.year, date.month));
  return {
      split_words(written_date(date, draw(k[3], 0, date_forms - 1))),
      split_words(digits(date.year) + " - " + digits(date.month, 2) + " - " + digits(date.day, 2))};
}

}  // namespace

std::string number_in_words(Size number) {
  if (number < 1 || number > 999999) {
    fail("number_in_words", std::to_string(number) + " is not in 1..999999");
  }
  const Size thousands = number / 1000, rest = number % 1000;
  if (thousands == 0) return below_thousand(rest);
  const std::string head = below_thousand(thousands) + " thousand";
  if (rest == 0) return head;
  return head + (rest < 100 ? " and " : " ") + below_thousand(rest);
}

std::string written_date(const Date& date, Size form) {
  const std::string month = months.at(std::size_t(date.month - 1));
  const std::string day = digits(date.day), year = digits(date.year);
  switch (form) {
    case 0:
      return day + " " + month + " " + year;
    case 1:
      return "the " + day + " " + ordinal(date.day) + " of " + month + " " + year;
    case 2:
      return month + " " + day + " , " + year;
    case 3:
      return digits(date.day, 2) + " . " + digits(date.month, 2) + " . " + year;
    case 4:
      return day + " " + month.substr(0, 3) + " ' " + digits(date.year % 100, 2);
    default:
      fail("written_date", "there is no form " + std::to_string(form));
  }
}

std::vector<TextPair> generate_pairs(const Key& key, Size count, TranslationTask task) {
  if (count < 0 || count > 100000) {
    fail("generate_pairs", std::to_string(count) + " pairs are not in 0..100000");
  }
  std::vector<TextPair> pairs;
  std::set<std::vector<std::string>> seen;
  for (std::uint64_t i = 0; Size(pairs.size()) < count; ++i) {
    const bool number =
        task == TranslationTask::numbers || (task == TranslationTask::both && i % 2 == 0);
    TextPair pair = number ? draw_number(fold_in(key, i)) : draw_date(fold_in(key, i));
    if (seen.insert(pair.source).second) pairs.push_back(std::move(pair));
  }
  return pairs;
}

}  // namespace unroll
