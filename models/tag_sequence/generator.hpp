// Sentences in which only the context tells what a name is: a task for tag_sequence whose best possible
// score is 1.
//
//   const auto training = generated_sentences(Key(1), 4000, Gazetteer::training);
//   const auto test = generated_sentences(Key(2), 500, Gazetteer::test);       // names never seen
//
// Sentences are templates filled with invented names of one to three words. All kinds of names are made
// of the same syllables and any name can be of any kind, or none, so neither the words nor their letters
// say what they are; the words around them always do, so the optimum is an F1 of 1.
// Invariant: no name of one gazetteer has a word of the other.
#pragma once

#include "unroll/autograd/random.hpp"
#include "unroll/models/data/conll.hpp"

namespace unroll {

enum class Gazetteer { training, test };

/// In IOB2, with the types PER, LOC, ORG and WORK. Sentence i is a function of the key and i.
[[nodiscard]] std::vector<TaggedSentence> generated_sentences(const Key& key, Size count,
                                                              Gazetteer gazetteer);

}  // namespace unroll
