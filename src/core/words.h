// Words of a text, lower-cased, for indices over words and for sequences of them.
//   whitespace   whatever stands between white space, punctuation included, as in Python's text.lower().split()
//   letters      runs of letters and digits; every character outside ASCII counts as a letter, except spaces, U+00A0 to
//                U+00BF and the punctuation from U+2000 to U+206F
// Lower case by Unicode 14, as Python 3.11's text.lower() has it, whatever the locale: single characters, U+0130 as i
// and U+0307, and a capital sigma at the end of a word as the final sigma, by what stands around it in the text.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace fci {

enum class Tokeniser { whitespace, letters };

uint32_t lower_case(uint32_t code_point);

// The character at s[at] and its length in bytes. Length 1 and at least 128: a byte that is not UTF-8 [RFC 3629], as in
// overlong forms, surrogates and what is above U+10FFFF.
uint32_t decode_utf8(std::string_view s, size_t at, size_t& length);

// Cuts `text` into words: next() is false at the end; word() lives until the next call. Bytes that are not UTF-8 are
// taken as letters.
class WordReader {
public:
    explicit WordReader(Tokeniser t) : letters_(t == Tokeniser::letters) {}
    void read(std::string_view text) { text_ = text, at_ = 0; }
    bool next();
    std::string_view word() const { return word_; }
    uint64_t hash() const { return hash_; } // of the word

private:
    bool wide(); // a character outside ASCII; false: it ends the word
    std::string_view text_;
    size_t at_ = 0;
    std::string word_;
    uint64_t hash_ = 0;
    bool letters_;
};

} // namespace fci
