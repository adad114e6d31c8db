#include "tasks/hotpot_world.h"

#include <algorithm>
#include <set>

#include "core/check.h"

namespace fci {
namespace {

constexpr std::string_view mark = "generated-"; // how generated ids begin

using Words = std::initializer_list<const char*>;

constexpr Words openings = {"Al",  "Bre", "Cor", "Da",  "El",   "Fen", "Gar", "Hol", "Is", "Jor", "Kel", "Lo",
                            "Mar", "Nev", "Or",  "Pel", "Quin", "Ros", "Sel", "Tor", "Ul", "Var", "Wen", "Yl"};
constexpr Words middles = {"a", "be", "da", "e", "li", "ma", "no", "ra", "ri", "so", "ti", "vo"};
constexpr Words first_ends = {"n", "ra", "s", "la", "th", "na", "ric", "lin", "mo", "dia"};
constexpr Words last_ends = {"dane", "wick", "moor", "sson", "vell", "tarn", "holt", "quist", "berg", "ley"};
constexpr Words town_ends = {"burgh", "mouth", "vale", "haven", "ford", "minster", "stad", "wold", "gate", "mere"};
constexpr Words adjectives = {"Silver",  "Hollow",  "Last",    "Quiet",  "Burning", "Northern", "Broken", "Golden",
                              "Distant", "Crimson", "Endless", "Hidden", "Winter",  "Glass",    "Salt",   "Second"};
constexpr Words nouns = {"Harbour", "Orchard", "Lantern", "River",  "Crown",   "Garden", "Mirror", "Voyage",
                         "Bridge",  "Tower",   "Letter",  "Season", "Promise", "Island", "Shadow", "Clock"};
constexpr Words months = {"January", "February", "March",     "April",   "May",      "June",
                          "July",    "August",   "September", "October", "November", "December"};
constexpr Words awards = {"the Aldine Medal",  "the Meridian Prize",    "the Order of the Heron",
                          "the Lantern Award", "the Calder Fellowship", "the Ivory Laurel"};
constexpr Words lands = {"Estmark", "Vellonia", "Tarrin", "Oskary", "Lower Brenn", "Sundria"};
constexpr Words peoples = {"Estmarker", "Vellonian", "Tarrinese", "Oskarian", "Brennish", "Sundrian"};

// A kind of work, who makes it and the phrase for that.
struct Kind {
    const char *kind, *trade, *made, *setting;
};
constexpr Kind kinds[] = {
    {"film", "film director", "directed", "drama"}, {"novel", "novelist", "written", "historical"},
    {"album", "songwriter", "recorded", "folk"},    {"opera", "composer", "composed", "comic"},
    {"play", "playwright", "written", "one-act"},   {"painting", "painter", "painted", "landscape"}};

struct Town {
    std::string name, river;
    int land = 0, people = 0, founded = 0;
};
struct Person {
    std::string first, last, teacher, award;
    int year = 0, month = 0, day = 0, land = 0;
    const Kind* kind = nullptr;
    Town home;
    std::string name() const { return first + " " + last; }
};
struct Work {
    std::string title;
    int year = 0;
    const Kind* kind = nullptr;
    Person maker;
};

// A paragraph before it is cut to length: the sentences that may be needed come first.
struct Article {
    std::string title;
    std::vector<std::string> core, more;
};

std::string with_article(const std::string& word) { // eighteen...: years of the 19th century
    const bool vowel = std::string("AEIOU").find(word[0]) != std::string::npos || word.starts_with("18");
    return (vowel ? "an " : "a ") + word;
}

class World {
public:
    explicit World(Rng rng) : rng_(rng) {}

    HotpotExample example(const std::string& id) {
        if (rng_.below(5) == 0) {
            rng_.below(2) ? compare_people() : compare_works();
        } else
            rng_.below(3) == 0 ? bridge_town() : bridge_maker();
        check(articles_.size() == 10, "hotpot_world: {} paragraphs", articles_.size());
        return finish(id);
    }

private:
    std::string pick(Words words) { return words.begin()[rng_.below(static_cast<uint32_t>(words.size()))]; }
    // Braces evaluate from left to right; the operands of + may be evaluated in any order, which differs between
    // compilers.
    static std::string joined(std::initializer_list<std::string> parts) {
        std::string all;
        for (const std::string& part : parts) all += part;
        return all;
    }
    std::string root() { return joined({pick(openings), rng_.below(2) ? pick(middles) : ""}); }
    std::string first_name() { return joined({root(), pick(first_ends)}); }
    std::string last_name() { return joined({root(), pick(last_ends)}); }
    // A name that nothing else in this example has.
    template <class Make>
    std::string fresh(Make make) {
        for (;;)
            if (std::string name = make(); taken_.insert(name).second) return name;
    }

    Town town() {
        Town t;
        t.name = fresh([&] { return joined({root(), pick(town_ends)}); });
        t.river = fresh([&] { return joined({root(), pick(middles), "n"}); });
        t.land = rng_.between(0, static_cast<int>(lands.size()));
        t.people = 800 + 37 * rng_.between(0, 9000), t.founded = rng_.between(1050, 1800);
        return t;
    }
    Person person(const Kind* kind, const Town& home, const std::string& last = "") {
        Person p;
        fresh([&] {
            p.first = first_name(), p.last = last.empty() ? last_name() : last;
            return p.name();
        });
        p.teacher = fresh([&] { return joined({first_name(), " ", last_name()}); });
        p.award = pick(awards), p.kind = kind, p.home = home, p.land = home.land;
        p.year = rng_.between(1780, 1930), p.month = rng_.between(0, 12), p.day = rng_.between(1, 29);
        return p;
    }
    const Kind* kind() { return &kinds[rng_.below(std::size(kinds))]; }
    Work work(const Kind* kind, const Person& maker, const std::string& word = "") {
        Work w;
        w.kind = kind, w.maker = maker, w.year = maker.year + rng_.between(22, 60);
        w.title = fresh([&] {
            const std::string a = pick(adjectives), n = pick(nouns);
            if (!word.empty()) return "The " + (rng_.below(2) ? word + " " + n : a + " " + word);
            return joined({rng_.below(4) ? "The " : "", a, " ", n, rng_.below(6) ? "" : " of " + pick(lands)});
        });
        return w;
    }

    Article about(const Town& t) {
        const std::string land = lands.begin()[t.land];
        return {t.name,
                {fmt::format("{} is a town in {}, on the banks of the River {}.", t.name, land, t.river),
                 fmt::format("At the last census it had a population of {},{:03} people in the town and its villages.",
                             t.people / 1000, t.people % 1000)},
                {fmt::format("It was founded in {} by merchants who were looking for a safe harbour.", t.founded),
                 fmt::format("The market square, rebuilt after the great fire of {}, is the oldest in {}.",
                             t.founded + 120, land),
                 "A railway station opened there in the nineteenth century and was closed again two generations later.",
                 fmt::format("Its weekly newspaper, the \"{} Courier\", has been printed in the same house ever since.",
                             t.name),
                 "Many of the houses near the old wall are built of the grey stone that is cut in the hills.",
                 "Every spring a regatta brings visitors from the whole district.",
                 fmt::format("The town is twinned with two others in {}.", pick(lands)), "It has a small university."}};
    }
    Article about(const Person& p) {
        const char* month = months.begin()[p.month];
        return {p.name(),
                {fmt::format("{} ({} {}, {} – {}) was {} {}.", p.name(), month, p.day, p.year, p.year + 71,
                             with_article(peoples.begin()[p.land]), p.kind->trade),
                 fmt::format("{} was born in {}, where the family kept a shop near the market.", p.first, p.home.name),
                 fmt::format("In {} {} was given {} for a life's work.", p.year + 55, p.last, p.award),
                 fmt::format("At the age of {} {} became a pupil of {}, who remained a friend.", rng_.between(14, 23),
                             p.first, p.teacher)},
                {fmt::format("The early years were spent in {}, far from other {}s.", pick(lands), p.kind->trade),
                 fmt::format("{} is said to have worked at night only, by the light of one lamp.", p.last),
                 fmt::format("Critics called the work of {} \"plain, patient and without vanity\".", p.first),
                 "A long illness put an end to the travels, but not to the letters.",
                 fmt::format("A street in the capital of {} bears the name.", lands.begin()[p.land]),
                 "The papers are kept in a public library, where anyone may ask to read them.",
                 "There were three children, one of whom became a judge.", "Little else is known."}};
    }
    Article about(const Work& w) {
        return {w.title,
                {fmt::format("{} is {} {} {} {} by the {} {}.", w.title, with_article(std::to_string(w.year)),
                             w.kind->setting, w.kind->kind, w.kind->made, w.kind->trade, w.maker.name())},
                {fmt::format("It tells of two sisters from {} who inherit a house that nobody wants.", pick(lands)),
                 fmt::format("The {} was received coolly at first and praised a generation later.", w.kind->kind),
                 fmt::format("Its title is taken from a line of an old song that was known all over {}.", pick(lands)),
                 fmt::format("It took the {} four years, two of them in debt.", w.maker.kind->trade),
                 fmt::format("A second version of the {} appeared in {}.", w.kind->kind, w.year + 9),
                 "A copy of it was lost at sea and came to light in an attic many years afterwards.",
                 "The last part is often shown to children.", "It was later translated into nine languages."}};
    }

    // Adds a paragraph; needed: the sentence of `core` that the answer needs, -1 for a distractor.
    void add(Article a, int needed = -1) {
        static constexpr int counts[] = {294, 796, 1082, 1013, 713, 450, 243, 123, 99, 62, 23, 32}; // for 1 .. 12
        int total = 0, length = 0;
        for (const int c : counts) total += c;
        for (int left = rng_.between(0, total); left >= counts[length]; ++length) left -= counts[length];
        ++length;
        std::vector<std::string> text = {a.core[0]};
        if (needed > 0) text.push_back(a.core[needed]);
        std::vector<std::string> rest;
        for (int i = 1; i < static_cast<int>(a.core.size()); ++i)
            if (i != needed && rng_.below(2)) rest.push_back(a.core[i]);
        rest.insert(rest.end(), a.more.begin(), a.more.end());
        shuffle(rest);
        for (size_t i = 0; static_cast<int>(text.size()) < length && i < rest.size(); ++i) text.push_back(rest[i]);
        int at = needed > 0 ? 1 : 0;
        if (needed > 0) { // anywhere after the first
            const int to = rng_.between(1, static_cast<int>(text.size()));
            std::swap(text[1], text[to]);
            at = to;
        }
        for (size_t i = 1; i < text.size(); ++i) text[i] = " " + text[i]; // as in the real files
        if (needed >= 0) {
            if (at > 0 && rng_.below(3)) facts_.emplace_back(a.title, 0);
            facts_.emplace_back(a.title, at);
        }
        articles_.push_back({std::move(a.title), std::move(text), {}});
    }
    template <class T>
    void shuffle(std::vector<T>& v) {
        for (size_t i = v.size(); i > 1; --i) std::swap(v[i - 1], v[rng_.below(static_cast<uint32_t>(i))]);
    }

    void ask(const std::string& type, const std::string& question, const std::string& answer) {
        type_ = type, question_ = question, answer_ = answer;
    }
    // Adds paragraphs that share words with a question about a work of this kind or its maker; towns: a question that
    // names a town.
    void distract(const Kind* kind, const Person& near, const std::string& title, int count, bool towns = false) {
        const std::string word = title.substr(title.rfind(' ') + 1);
        for (int i = 0; i < count; ++i) {
            const Town home = rng_.below(3) ? town() : near.home;
            switch (rng_.below(towns ? 5 : 4)) {
            case 0:
                add(about(work(kind, person(kind, home), word)));
                break;
            case 1:
                add(about(work(kind, person(kind, home))));
                break;
            case 2:
                add(about(person(kind, home, near.last)));
                break;
            case 3:
                add(about(person(kind, near.home)));
                break;
            default:
                add(about(town()));
            }
        }
    }

    void bridge_maker() {
        const Kind* k = kind();
        const Person maker = person(k, town());
        const Work w = work(k, maker);
        add(about(w), 0);
        const int asked = rng_.between(1, 4);
        add(about(maker), asked);
        const std::string who = fmt::format("the {} of the {} {} {}", k->trade, w.year, k->kind, w.title);
        if (asked == 1) ask("bridge", fmt::format("In which town was {} born?", who), maker.home.name);
        if (asked == 2) ask("bridge", fmt::format("Which award was given to {}?", who), maker.award);
        if (asked == 3) ask("bridge", fmt::format("Who taught {}?", who), maker.teacher);
        distract(k, maker, w.title, 8, asked == 1);
    }
    void bridge_town() {
        const Kind* k = kind();
        const Town home = town();
        const Person p = person(k, home);
        add(about(p), 1);
        add(about(home), 0);
        ask("bridge", fmt::format("On which river is the town where the {} {} was born?", k->trade, p.name()),
            home.river);
        distract(k, p, p.name(), 8, true);
    }
    void compare_people() {
        const Kind *k = kind(), *l = rng_.below(2) ? k : kind();
        const bool by_town = rng_.below(2);
        const Person a = person(k, town());
        Person b = person(l, by_town && rng_.below(2) ? a.home : town());
        while (a.year == b.year) b.year = rng_.between(1780, 1930);
        add(about(a), by_town), add(about(b), by_town);
        const std::string who = fmt::format("the {} {}", k->trade, a.name()),
                          other = fmt::format("the {} {}", l->trade, b.name());
        if (by_town) {
            ask("comparison", fmt::format("Were {} and {} born in the same town?", who, other),
                a.home.name == b.home.name ? "yes" : "no");
        } else
            ask("comparison", fmt::format("Who was born first, {} or {}?", who, other),
                a.year < b.year ? a.name() : b.name());
        distract(k, a, a.name(), 4), distract(l, b, b.name(), 4);
    }
    void compare_works() {
        const Kind* k = kind();
        const Work a = work(k, person(k, town()));
        Work b = work(k, person(k, town()));
        while (a.year == b.year) b.year = rng_.between(1810, 1990);
        add(about(a), 0), add(about(b), 0);
        ask("comparison",
            fmt::format("Which {} was finished earlier by its {}, {} or {}?", k->kind, k->trade, a.title, b.title),
            a.year < b.year ? a.title : b.title);
        distract(k, a.maker, a.title, 4), distract(k, b.maker, b.title, 4);
    }

    HotpotExample finish(const std::string& id) {
        shuffle(articles_);
        shuffle(facts_);
        HotpotExample x; // its views point into this world's strings until settle()
        const std::string level = rng_.below(2) ? "medium" : "hard";
        x.id = id, x.question = question_, x.answer = answer_, x.type = type_, x.level = level;
        for (const Article& a : articles_) {
            const auto begin = static_cast<uint32_t>(x.sentences.size());
            x.sentences.insert(x.sentences.end(), a.core.begin(), a.core.end());
            x.paragraphs.push_back({a.title, begin, static_cast<uint32_t>(x.sentences.size())});
        }
        for (const auto& [title, index] : facts_) x.facts.push_back({title, index});
        x.settle();
        return x;
    }

    Rng rng_;
    std::set<std::string> taken_;
    std::vector<Article> articles_;
    std::vector<std::pair<std::string, int>> facts_;
    std::string type_, question_, answer_;
};

} // namespace

HotpotExample make_hotpot_example(uint64_t seed, Stream stream, int64_t i) {
    const std::string id = fmt::format("{}{}-{}-{}", mark, seed, static_cast<uint32_t>(stream), i);
    return World(Rng(seed, stream, static_cast<uint64_t>(i))).example(id);
}

bool is_generated(const HotpotExample& x) { return x.id.starts_with(mark); }

std::vector<HotpotExample> make_hotpot(int count, uint64_t seed, Stream stream, Workers& workers) {
    std::vector<HotpotExample> all(count);
    workers.run(count, [&](int i, int) { all[i] = make_hotpot_example(seed, stream, i); });
    return all;
}

} // namespace fci
