#include "tests/fuzz/parsers.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/nearest.h"

namespace fci {

namespace fs = std::filesystem;

const std::vector<Parser>& parsers() {
    static const std::vector<Parser> all = [] {
        std::vector<Parser> p = data_parsers();
        for (std::vector<Parser>& more : std::vector{study_parsers(), pretrained_parsers()})
            p.insert(p.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
        return p;
    }();
    return all;
}

const Parser& parser_named(const std::string& name) {
    std::vector<std::string> names;
    for (const Parser& p : parsers()) {
        if (p.name == name) return p;
        names.emplace_back(p.name);
    }
    fail(Exit::usage, "{}: no such parser{}", name, did_you_mean(name, names));
}

const std::string& fuzz_folder() {
    static const struct Folder {
        std::string path;
        Folder() {
            const fs::path memory = "/dev/shm";
            path = ((::access(memory.c_str(), W_OK) == 0 ? memory : fs::temp_directory_path()) / "fci-fuzz-XXXXXX");
            hold(::mkdtemp(path.data()) != nullptr, "no folder for files can be made");
        }
        ~Folder() {
            std::error_code ignored;
            fs::remove_all(path, ignored);
        }
    } folder;
    return folder.path;
}

void put_file(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::vector<std::string> json_pieces(const std::vector<std::string>& more) {
    std::vector<std::string> pieces{"{",
                                    "}",
                                    "[",
                                    "]",
                                    ",",
                                    ":",
                                    "\"",
                                    "\\",
                                    " ",
                                    "0",
                                    "1",
                                    "9",
                                    "-",
                                    ".",
                                    "e",
                                    "{}",
                                    "[]",
                                    "\"\"",
                                    "null",
                                    "true",
                                    "\\u0000",
                                    "\\ud83d",
                                    "\xFF",
                                    "\xC3",
                                    std::string(1, '\0'),
                                    "\n",
                                    "4294967296",
                                    "9223372036854775807",
                                    "18446744073709551615",
                                    "18446744073709551616",
                                    "1e300"};
    pieces.insert(pieces.end(), more.begin(), more.end());
    return pieces;
}

} // namespace fci
