#include <doctest/doctest.h>

#include <cmath>

#include "unroll/models/training/run_program.hpp"
#include "unroll/models/training/run_report.hpp"

using namespace unroll;

namespace {

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (auto i = text.find(part); i != text.npos; i = text.find(part, i + 1)) ++found;
  return found;
}
bool contains(const std::string& text, const std::string& part) { return count(text, part) > 0; }

bool gnuplot_is_there() {
  return run_program({"gnuplot", "--version"}, "").status != ProgramStatus::missing;
}

TrainingHistory some_history() {
  TrainingHistory h;
  for (int i = 0; i < 25; ++i) {
    h.add({.loss = 2.0 / (i + 1), .weight = 10, .gradient_norm = 1, .learning_rate = 0.1}, 10);
  }
  h.epoch = 3;
  h.validation = {{.step = 10, .epoch = 1, .loss = 1, .metric = 0.5},
                  {.step = 20, .epoch = 2, .loss = 0.5, .metric = 0.7}};
  return h;
}

}  // namespace

TEST_CASE("points of the training curve are means by weight since the point before") {
  TrainingHistory h;
  h.add({.loss = 1, .weight = 1, .gradient_norm = 2, .learning_rate = 0.1}, 2);
  CHECK(h.training.empty());
  CHECK(h.open.step == 1);
  h.add({.loss = 4, .weight = 3, .gradient_norm = 4, .learning_rate = 0.2}, 2);
  REQUIRE(h.training.size() == 1);
  CHECK(h.training[0].step == 2);
  CHECK(h.training[0].loss == (1 + 12) / 4.0);
  CHECK(h.training[0].weight == 4);
  CHECK(h.training[0].gradient_norm == 3);
  CHECK(h.training[0].learning_rate == 0.2);
  CHECK(h.open.step == 0);
}

TEST_CASE("a history comes back from its arrays, also an empty one") {
  for (const TrainingHistory& h : {some_history(), TrainingHistory{}}) {
    const TrainingHistory back = history_of(arrays_of(h), "file");
    CHECK(back.steps == h.steps);
    CHECK(back.epoch == h.epoch);
    REQUIRE(back.training.size() == h.training.size());
    REQUIRE(back.validation.size() == h.validation.size());
    for (std::size_t i = 0; i < h.training.size(); ++i) {
      CHECK(back.training[i].loss == h.training[i].loss);
      CHECK(back.training[i].learning_rate == h.training[i].learning_rate);
    }
    for (std::size_t i = 0; i < h.validation.size(); ++i) {
      CHECK(back.validation[i].metric == h.validation[i].metric);
    }
    CHECK(back.open.weight == h.open.weight);
  }
  HistoryArrays bad = arrays_of(some_history());
  bad.position = Var<double>(Shape{3}, {1.5, 0, 0});
  CHECK_THROWS_WITH_AS((void)history_of(bad, "run.st"), doctest::Contains("run.st"), FormatError);
  bad = arrays_of(some_history());
  bad.validation = bad.training;
  CHECK_THROWS_AS((void)history_of(bad, "run.st"), FormatError);
}

TEST_CASE("the best validation is the earliest of the lowest, and never one that is no number") {
  TrainingHistory h = some_history();
  CHECK(best_validation(h, Aim::none) == 1);
  h.validation.push_back({.step = 30, .loss = 0.5, .metric = 0.4});
  CHECK(best_validation(h, Aim::none) == 1);
  CHECK(best_validation(h, Aim::lower) == 2);
  CHECK(best_validation(h, Aim::higher) == 1);
  h.validation.insert(h.validation.begin(), {.step = 5, .loss = std::nan("")});
  CHECK(best_validation(h, Aim::none) == 2);
  CHECK_FALSE(best_validation(TrainingHistory{}, Aim::none).has_value());
}

TEST_CASE("a run's curves, facts and samples make sections") {
  Report report("T");
  add_learning(report, some_history(), {.loss = "bits", .metric = "F1", .weight = "tokens"});
  add_gradient_by_step(report, {{"before", {1e-3, 1e-2, 1}}, {"after", {0.5, 0.6, 1}}});
  add_samples(report, "What it writes", {{"first", "a <b> c"}});
  add_facts(report, "program --x", {{"network", "LSTM"}});
  const std::string page = report.html();
  CHECK(contains(page, "25 steps, 3 passes over the data, 250 tokens"));
  CHECK(contains(page, "F1 on held-out data"));
  CHECK(contains(page, "a &lt;b&gt; c"));
  CHECK(contains(page, "<dd>program --x</dd>"));
  CHECK(page.find("<dt>network") < page.find("<dt>compiler"));
  CHECK(count(page, "<h2") == 4);
  CHECK(count(page, "<figure>") == 5);
  if (gnuplot_is_there()) CHECK(count(page, "<svg ") == 5);
}

TEST_CASE("what there is nothing of makes no section") {
  Report report("T");
  const std::string empty = report.html();
  add_learning(report, {});
  add_gradient_by_step(report, {});
  add_samples(report, "Samples", {});
  add_tagged_text(report, {});
  add_attention_maps(report, {});
  add_confusion_matrix(report, {}, {});
  CHECK(report.html() == empty);
}

TEST_CASE("a confusion matrix has precision, recall and the most frequent mistake of each class") {
  Report report("T");
  // Of 10 cats 8 were called cats and 2 dogs; of 4 dogs 1 was called a cat; no bird was shown.
  const std::vector<double> counts{8, 2, 0, 1, 3, 0, 0, 0, 0};
  add_confusion_matrix(report, counts, {"cat", "d<o>g", "bird"});
  const std::string page = report.html();
  const auto row = [](const std::vector<std::string>& cells) {
    std::string text;
    for (const auto& cell : cells) text += ">" + cell + "</td><td";
    return text.substr(0, text.size() - 3);
  };
  const auto strip = [](std::string text) {
    for (const std::string name : {" class=\"number\""}) {
      for (auto i = text.find(name); i != text.npos; i = text.find(name))
        text.erase(i, name.size());
    }
    return text;
  };
  const std::string plain = strip(page);
  CHECK(contains(plain, row({"cat", "10", "88.9 %", "80.0 %", "d&lt;o&gt;g (2)"})));
  CHECK(contains(plain, row({"d&lt;o&gt;g", "4", "60.0 %", "75.0 %", "cat (1)"})));
  CHECK(contains(plain, row({"bird", "0", "-", "-", ""})));
  if (gnuplot_is_there()) CHECK(contains(page, ">bird</text>"));
  CHECK_THROWS_AS(add_confusion_matrix(report, counts, {"a", "b"}), std::invalid_argument);
}

TEST_CASE("tagged words are marked with their tag, wrong ones with the right tag too") {
  Report report("T");
  add_tagged_text(report,
                  {{{"Ada"}, {"L<", "PER"}, {"saw"}, {"Rome", "ORG", "LOC"}, {"Ada", "PER", "PER"}},
                   {{"missed", "", "LOC"}, {"made up", "LOC", ""}}});
  const std::string page = report.html();
  CHECK(count(page, "<div class=\"tagged\">") == 2);
  CHECK(contains(page, "Ada <mark class=\"tag-0\">L&lt;<small>PER</small></mark> saw "));
  CHECK(contains(page, "<mark class=\"tag-1 wrong\">Rome<small>ORG (LOC)</small></mark>"));
  CHECK(contains(page, "<mark class=\"tag-0\">Ada<small>PER</small></mark>"));
  CHECK(contains(page, "<mark class=\"tag-2 wrong\">missed<small> (LOC)</small></mark>"));
  CHECK(contains(page, "<mark class=\"tag-2 wrong\">made up<small>LOC (no tag)</small></mark>"));
}

TEST_CASE("attention maps carry their words along the axes") {
  Report report("T");
  add_attention_maps(report, {{.rows = {"le", "chat"},
                               .columns = {"the", "it's", "cat"},
                               .weights = {0.9, 0.1, 0, 0.1, 0.1, 0.8},
                               .caption = "One sentence."}});
  const std::string page = report.html();
  CHECK(contains(page, "One sentence."));
  if (gnuplot_is_there()) {
    for (const char* word : {">le</text>", ">chat</text>", ">cat</text>", ">it's</text>"}) {
      INFO(word);
      CHECK(contains(page, word));
    }
  }
  CHECK_THROWS_AS(
      add_attention_maps(report, {{.rows = {"a"}, .columns = {"b"}, .weights = {1, 2}}}),
      std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)heat_map_svg(std::vector<double>{1, 2}, 1, 2, {.x_labels = {"a"}}),
                       doctest::Contains("1 labels for 2"), std::invalid_argument);
}

TEST_CASE("numbers are grouped by thousands") {
  CHECK(grouped(0) == "0");
  CHECK(grouped(999) == "999");
  CHECK(grouped(1000) == "1,000");
  CHECK(grouped(1234567) == "1,234,567");
}
