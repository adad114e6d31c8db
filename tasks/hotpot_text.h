// HotpotQA for routers that learn: a question and its sentences as one sequence. The positions to find are those where
// a supporting sentence starts.
//
//   question   In which town was ... born?         sentences   The Grey Marsh is a ... .  It was ... .  The ...
//   position    0    1    2  ...  10   11   12   13    14  ...   31    32   ...           212            L-1
//   token       in which town ... born? SEP the  grey marsh ...  1931. it   ...           oda   ...      PAD PAD
//   role                                 q  start                      start            * start
//                                                                                       correct
//   tokens (L)    query = q, the row of SEP       correct = where supporting sentences start (*), `answer` the first
//
// Law. Words are separated by white space, lower-cased (core/words.h), and keep their punctuation, so a sentence's last
// word shows that it ends. Token of a word: 2 + FNV-1a(its UTF-8) mod (V-2), so two words may share one; 0 is PAD, 1 is
// SEP. A sequence is the first L of: the question's words, SEP, the words of all sentences in order, without titles,
// PAD. A sentence starts at its first word; one without words starts nowhere. There is no answer token: only a router
// can learn.
//
// The cut: a supporting sentence that starts at L or later cannot be found, and is counted in Dataset::correct_cut. An
// example with no correct position left (or none to begin with) is left out, and counted in left_out. Generated
// examples (tasks/hotpot_world.h): sequence n is the n-th example of its stream that is not left out.
#pragma once
#include <span>

#include "tasks/dataset.h"
#include "tasks/hotpotqa.h"

namespace fci {

constexpr int32_t text_pad = 0, text_separator = 1, text_first_word = 2;

struct HotpotSequence {
    std::vector<int32_t> tokens;           // (L)
    int query = 0;                         // the row of SEP
    std::vector<int32_t> starts, sentence; // where sentences start, ascending; the index of each
    std::vector<int32_t> correct;          // where supporting sentences start
    int correct_cut = 0;                   // supporting sentences that start after the cut

    bool usable() const { return !correct.empty(); }
};

// Takes options that resolve() has filled in.
HotpotSequence hotpot_sequence(const HotpotExample&, const TaskOptions&);

// The same for any number of workers. Exit::bad_data, with a message that begins with `name`, if no example can be
// used.
Dataset hotpot_dataset(std::span<const HotpotExample>, const TaskOptions&, const std::string& name, Workers&);

// `count` sequences of generated examples. Exit::usage if --length leaves almost none.
Dataset generate_hotpot_text(const TaskOptions&, int count, uint64_t seed, Stream, Workers&);

} // namespace fci
