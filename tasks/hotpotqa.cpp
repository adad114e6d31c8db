#include "tasks/hotpotqa.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <unordered_map>

#include "core/check.h"
#include "core/files.h"

namespace fci {

void HotpotExample::settle() {
    // A fact names the sentence of the first paragraph of its title: titles are all but always distinct.
    std::unordered_map<std::string_view, const Paragraph*> titled;
    for (const Paragraph& p : paragraphs) titled.emplace(p.title, &p);
    std::set<std::pair<std::string_view, int64_t>> distinct;
    supporting.clear();
    for (const Fact& f : facts) {
        if (!distinct.emplace(f.title, f.index).second) continue;
        const auto p = titled.find(f.title);
        if (p != titled.end() && f.index >= 0 && f.index < p->second->end - p->second->begin)
            supporting.push_back(p->second->begin + static_cast<uint32_t>(f.index));
    }
    std::sort(supporting.begin(), supporting.end());
    distinct_facts_ = static_cast<int>(distinct.size());

    const auto each_text = [this](auto&& use) {
        for (std::string_view* t : {&id, &question, &answer, &type, &level}) use(*t);
        for (Paragraph& p : paragraphs) use(p.title);
        for (std::string_view& s : sentences) use(s);
        for (Fact& f : facts) use(f.title);
    };
    size_t size = 0;
    each_text([&](std::string_view& t) { size += t.size(); });
    std::vector<char> block(size);
    char* to = block.data();
    each_text([&](std::string_view& t) {
        if (t.empty()) return t = {}, void();
        std::memcpy(to, t.data(), t.size());
        t = {to, t.size()};
        to += t.size();
    });
    text_ = std::move(block); // moved, never copied: the views stay right
    paragraphs.shrink_to_fit(), sentences.shrink_to_fit(), facts.shrink_to_fit(), supporting.shrink_to_fit();
}

int HotpotExample::lost_facts() const { return distinct_facts_ - static_cast<int>(supporting.size()); }

namespace {

// As json.dumps(ensure_ascii=False) writes a string.
void add_string(std::string& json, std::string_view text) {
    json += '"';
    size_t plain = 0; // from here on nothing has to be escaped
    for (size_t i = 0; i < text.size(); ++i) {
        const auto c = static_cast<unsigned char>(text[i]);
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        json.append(text, plain, i - plain);
        plain = i + 1;
        constexpr std::string_view named = "\b\f\n\r\t\"\\", letters = "bfnrt\"\\";
        if (const size_t n = named.find(static_cast<char>(c)); n != std::string_view::npos) {
            json += '\\', json += letters[n];
        } else
            json += fmt::format("\\u{:04x}", c);
    }
    json.append(text, plain);
    json += '"';
}

} // namespace

std::string hotpot_json(std::span<const HotpotExample> examples) {
    std::string json = "[";
    for (const HotpotExample& x : examples) {
        if (&x != examples.data()) json += ',';
        const std::pair<const char*, std::string_view> words[] = {{"{\"_id\":", x.id},
                                                                  {",\"question\":", x.question},
                                                                  {",\"answer\":", x.answer},
                                                                  {",\"type\":", x.type},
                                                                  {",\"level\":", x.level}};
        for (const auto& [key, word] : words) json += key, add_string(json, word);
        json += ",\"supporting_facts\":[";
        for (const HotpotExample::Fact& f : x.facts) {
            json += &f == x.facts.data() ? "[" : ",[";
            add_string(json, f.title);
            json += fmt::format(",{}]", f.index);
        }
        json += "],\"context\":[";
        for (const HotpotExample::Paragraph& p : x.paragraphs) {
            json += &p == x.paragraphs.data() ? "[" : ",[";
            add_string(json, p.title);
            for (uint32_t s = p.begin; s < p.end; ++s) {
                json += s == p.begin ? ",[" : ",";
                add_string(json, x.sentences[s]);
            }
            json += "]]";
        }
        json += "]}";
    }
    return json += "]";
}

void save_hotpot(const std::string& path, std::span<const HotpotExample> examples) {
    write_file_atomically(path, hotpot_json(examples));
}

} // namespace fci
