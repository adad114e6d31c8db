// What a shell or man wants to know of the commands and their flags, by CLI11's own description of them.
#pragma once
#include <string>

namespace fci {

std::string completion(const std::string& shell); // a script; Exit::usage: not bash, zsh or fish
std::string man_page();                           // roff, section 1

} // namespace fci
