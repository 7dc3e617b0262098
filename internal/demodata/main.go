// Command demodata makes the sample audience of `postrider demo`: 5,000 rows as
// a shop might export them, nearly all of them good. Nobody in it exists. It
// makes the same file every time.
package main

import (
	"bufio"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

//go:generate go run . -o ../../cmd/postrider/demo/audience.csv

// What the audience is made of.
const (
	rows           = 5_000
	duplicates     = 60 // rows that repeat an earlier one, written a little differently
	invalidNumbers = 25 // rows that only a letter can reach
	unreachable    = 15 // rows that nothing can be sent to
)

func main() {
	out := flag.String("o", "audience.csv", "the file to write")
	flag.Parse()
	if err := writeFile(*out); err != nil {
		log.Fatal(err)
	}
}

func writeFile(path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return write(f)
}

// write makes the file.
func write(w io.Writer) error {
	b := bufio.NewWriter(w)
	out := csv.NewWriter(b)
	header := []string{"Mobile Phone", "First Name", "Last Name", "E-mail", "Address 1", "Suburb", "State", "Postcode", "Country", "Tier", "Points"}
	if err := out.Write(header); err != nil {
		return err
	}
	m := &maker{r: rand.New(rand.NewPCG(1, 5_000)), taken: map[string]bool{}}
	for _, kind := range m.kinds() {
		if err := out.Write(m.row(kind).cells()); err != nil {
			return err
		}
	}
	out.Flush()
	return errors.Join(out.Error(), b.Flush())
}

// kind is what is wrong with a row.
type kind int

const (
	good kind = iota
	duplicate
	invalidNumber
	nowhere
)

// person is a row before it is written.
type person struct {
	phone, first, last, email      string
	street, city, state, post, iso string
	tier, points                   string
	national                       string // digits of the number behind the calling code
}

func (p person) cells() []string {
	return []string{p.phone, p.first, p.last, p.email, p.street, p.city, p.state, p.post, p.iso, p.tier, p.points}
}

// maker makes rows, of which no two are the same recipient unless they are
// meant to be.
type maker struct {
	r     *rand.Rand
	taken map[string]bool // numbers, and names with addresses
	made  []person        // the good ones so far
}

// kinds says which row is what. A duplicate needs somebody before it, so the
// first hundred are good.
func (m *maker) kinds() []kind {
	kinds := make([]kind, 0, rows)
	for range duplicates {
		kinds = append(kinds, duplicate)
	}
	for range invalidNumbers {
		kinds = append(kinds, invalidNumber)
	}
	for range unreachable {
		kinds = append(kinds, nowhere)
	}
	kinds = append(kinds, make([]kind, rows-100-len(kinds))...)
	m.r.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	return append(make([]kind, 100), kinds...)
}

func (m *maker) row(k kind) person {
	switch k {
	case duplicate:
		p := m.made[m.r.IntN(len(m.made))]
		p.phone = m.dress(p)
		p.street = strings.ToUpper(p.street)
		return p
	case invalidNumber:
		p := m.person()
		p.phone = m.spoilt(p)
		return p
	case nowhere:
		p := m.person()
		if m.r.IntN(2) == 0 {
			p.phone = ""
		} else {
			p.phone = m.spoilt(p)
		}
		p.street, p.city, p.state, p.post = "", "", "", ""
		return p
	}
	p := m.person()
	m.made = append(m.made, p)
	return p
}

// person makes somebody new.
func (m *maker) person() person {
	for {
		p := m.place()
		p.first, p.last = m.one(firstNames), m.one(lastNames)
		p.email = fmt.Sprintf("%s.%s%d@example.com", strings.ToLower(p.first), strings.ToLower(p.last), 1+m.r.IntN(5_000))
		p.street = fmt.Sprintf("%d %s %s", 1+m.r.IntN(240), m.one(streetNames), m.one(streetKinds))
		p.tier, p.points = m.one("gold silver bronze"), fmt.Sprint(m.r.IntN(400))
		code := phonenumbers.GetCountryCodeForRegion(p.iso)
		number := fmt.Sprintf("+%d%s", code, p.national)
		address := strings.Join([]string{p.first, p.last, p.street, p.city}, "|")
		parsed, err := phonenumbers.Parse(number, "")
		if err != nil || !phonenumbers.IsValidNumber(parsed) || m.taken[number] || m.taken[address] {
			continue
		}
		m.taken[number], m.taken[address] = true, true
		p.phone = m.dress(p)
		return p
	}
}

// place makes a place and a number that fits it. American numbers are those
// that are set aside for drama (555-0100 to 555-0199); elsewhere there are too
// few of such, or the library takes them for invalid. The demo sends to nobody.
func (m *maker) place() person {
	switch n := m.r.IntN(100); {
	case n < 79:
		c := [][3]string{{"Adelaide", "SA", "50"}, {"Brisbane", "QLD", "40"}, {"Hobart", "TAS", "70"}, {"Melbourne", "VIC", "30"}, {"Perth", "WA", "60"}, {"Sydney", "NSW", "20"}}[m.r.IntN(6)]
		return person{iso: "AU", city: c[0], state: c[1], post: fmt.Sprintf("%s%02d", c[2], m.r.IntN(100)), national: fmt.Sprintf("4%d%07d", 1+m.r.IntN(3), m.r.IntN(1e7))}
	case n < 87:
		c := [][2]string{{"Auckland", "10"}, {"Wellington", "60"}, {"Christchurch", "80"}}[m.r.IntN(3)]
		return person{iso: "NZ", city: c[0], post: fmt.Sprintf("%s%02d", c[1], 10+m.r.IntN(90)), national: fmt.Sprintf("21%07d", m.r.IntN(1e7))}
	case n < 95:
		c := [][2]string{{"Bristol", "BS"}, {"Leeds", "LS"}, {"York", "YO"}}[m.r.IntN(3)]
		return person{iso: "GB", city: c[0], post: fmt.Sprintf("%s%d %dNT", c[1], 1+m.r.IntN(9), 1+m.r.IntN(9)), national: fmt.Sprintf("7400%06d", m.r.IntN(1e6))}
	}
	c := [][4]string{{"Austin", "TX", "787", "512 737"}, {"Denver", "CO", "802", "303 720"}, {"Portland", "OR", "972", "503 971"}}[m.r.IntN(3)]
	return person{iso: "US", city: c[0], state: c[1], post: fmt.Sprintf("%s%02d", c[2], 1+m.r.IntN(98)), national: fmt.Sprintf("%s55501%02d", m.one(c[3]), m.r.IntN(100))}
}

// dress writes a number as one of many hands would.
func (m *maker) dress(p person) string {
	parsed, err := phonenumbers.Parse(fmt.Sprintf("+%d%s", phonenumbers.GetCountryCodeForRegion(p.iso), p.national), "")
	if err != nil {
		panic(err) // person has parsed it
	}
	switch m.r.IntN(5) {
	case 0, 1:
		return phonenumbers.Format(parsed, phonenumbers.E164)
	case 2:
		return phonenumbers.Format(parsed, phonenumbers.INTERNATIONAL)
	case 3:
		return phonenumbers.Format(parsed, phonenumbers.NATIONAL)
	}
	return phonenumbers.NormalizeDigitsOnly(phonenumbers.Format(parsed, phonenumbers.NATIONAL))
}

// spoilt writes a number as it is when somebody was in a hurry.
func (m *maker) spoilt(p person) string {
	switch m.r.IntN(4) {
	case 0:
		return "n/a"
	case 1:
		return "unknown"
	case 2:
		return p.phone[:len(p.phone)-3]
	}
	return p.phone + "1234"
}

func (m *maker) one(words string) string {
	all := strings.Fields(words)
	return all[m.r.IntN(len(all))]
}

const (
	firstNames = "Alice Amir Ava Ben Chen Chloe Clara Diego Ella Emma Fatima Felix Finn Grace Hana Hugo Ingrid Isla Ivy Jack Jonas Lars Leila Leo " +
		"Liam Lily Mateo Max Mia Nina Noah Omar Oscar Priya Ruby Sam Sofia Tom Yuki Zoe"
	lastNames = "Adams Anderson Baker Brown Campbell Carter Collins Cook Edwards Evans Green Hall Harris Hill Jones King Lee Martin Mitchell Morris " +
		"Nelson Nguyen Parker Phillips Reed Roberts Rogers Scott Singh Smith Stewart Taylor Thompson Turner Walker White Williams Wilson Wright Young"
	streetNames = "Acacia Albert Banksia Cedar Church Elm Forest Garden George High Hill Jarrah Kauri King Lake Maple Mill Oak Park Queen River Station Victoria Wattle"
	streetKinds = "Avenue Drive Lane Place Road Street"
)
