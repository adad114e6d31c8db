// Descriptions of the commands and their flags for shells and man, made from CLI11's own descriptions.
#pragma once
#include <string>

namespace fci {

std::string completion(const std::string& shell); // a script; Exit::usage: not bash, zsh or fish
std::string man_page();                           // roff, section 1

} // namespace fci
