#include "unroll/models/classify_text/generator.hpp"

#include <array>
#include <initializer_list>

namespace unroll {
namespace {

// Draws one after the other from a key.
class Dice {
 public:
  explicit Dice(const Key& key) : key_(key) {}
  bool chance(double p) { return uniform<double>(fold_in(key_, next_++), {}).item() < p; }
  const char* one_of(std::span<const char* const> list) {
    return list[std::size_t(randint(fold_in(key_, next_++), {}, 0, Size(list.size()))(0))];
  }

 private:
  Key key_;
  std::uint64_t next_ = 0;
};

constexpr std::array subjects{"plot",   "cast",     "music",   "ending", "script",
                              "acting", "pace",     "story",   "camera", "dialogue",
                              "hero",   "director", "setting", "humour", "film"};
constexpr std::array degrees{"very", "rather", "quite", "truly", "really", "somewhat"};
constexpr std::array praise{"good",  "fine",  "clever", "moving", "funny",   "bright",
                            "witty", "fresh", "superb", "lovely", "gripping"};
constexpr std::array blame{"bad",   "dull",  "weak",  "flat",     "boring", "clumsy",
                           "silly", "stale", "awful", "lifeless", "tired"};

struct Clause {
  std::string text;
  bool is_praise;
};
Clause clause(Dice& dice) {
  const bool praises = dice.chance(0.5), turned = dice.chance(0.35);
  const std::string subject = std::string("the ") + dice.one_of(subjects);
  std::string judgement = turned ? "not " : "";
  if (dice.chance(0.4)) judgement += std::string(dice.one_of(degrees)) + " ";
  judgement += praises ? dice.one_of(praise) : dice.one_of(blame);
  return {dice.chance(0.3) ? "i found " + subject + " " + judgement : subject + " was " + judgement,
          praises != turned};
}

}  // namespace

std::vector<LabelledText> generated_reviews(const Key& key, Size count) {
  std::vector<LabelledText> reviews;
  for (Size i = 0; i < count; ++i) {
    Dice dice(fold_in(key, std::uint64_t(i)));
    Clause last = clause(dice);
    std::string text = last.text;
    if (dice.chance(0.5)) {
      last = clause(dice);
      text += " , but " + last.text;
    }
    reviews.push_back({text + " .", last.is_praise ? "pos" : "neg", i});
  }
  return reviews;
}

}  // namespace unroll
