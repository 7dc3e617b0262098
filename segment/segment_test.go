package segment

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postrider/postrider/campaign"
)

// people are the contacts that the table tests ask about, by first name.
func people() []campaign.Contact {
	columns := campaign.NewColumns("age", "plan", "joined", "spent", "order", "last_order", "nick_name")
	person := func(first, last, phone string, a campaign.Address, values ...string) campaign.Contact {
		return campaign.Contact{FirstName: first, LastName: last, Phone: phone, Email: strings.ToLower(first) + "@Example.org", Country: "AU",
			Address: a, Fields: campaign.Fields{Columns: columns, Values: values}}
	}
	return []campaign.Contact{
		person("Ann", "O'Brien", "+61411111111", campaign.Address{City: "Perth", State: "WA", PostalCode: "6000", Country: "AU"}, "18", "Gold", "2026-01-31", "1234.50", "A-1", "", "Annie"),
		person("Bob", "Müller", "+61422222222", campaign.Address{City: "  PERTH ", State: "wa", PostalCode: "6101", Country: "AU"}, "17", "gold plus", "2026-02-01 10:30", "0", "", "2025-12-24", ""),
		person("Cat", "van  der Berg", "+61433333333", campaign.Address{City: "Broome", State: "WA", PostalCode: "6725", Country: "AU"}, "65.0", "Silver", "31/01/2026", "-5", "B-2", " ", "Kitty, the cat"),
		person("Dan", "", "", campaign.Address{}, "", "", "", "12,50", "", "2026-01-01T00:00:00Z", "dan"),
	}
}

// TestMatch asks one condition after the other, and says whom it finds.
func TestMatch(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ where, want string }{
		{`city = "Perth"`, "Ann Bob"},
		{`city == 'perth'`, "Ann Bob"},
		{`"PERTH" = City`, "Ann Bob"},
		{`address_city = "Perth"`, "Ann Bob"},
		{`city != "Perth"`, "Cat Dan"},
		{`city <> "Perth"`, "Cat Dan"},
		{`city="Perth"and age>=18`, "Ann"},
		{`city = "Perth" AND NOT age >= 18`, "Bob"},
		{`city = "Perth" && !(age >= 18)`, "Bob"},
		{`age >= 18`, "Ann Cat"},
		{`18 <= age`, "Ann Cat"},
		{`18 < age`, "Cat"},
		{`age = 65`, "Cat"},
		{`age = 65.0`, "Cat"},
		{`age != 18`, "Bob Cat"}, // Dan has no age
		{`not (age = 18)`, "Bob Cat Dan"},
		{`not age = 18`, "Bob Cat Dan"},
		{`not age = 18 and city = "perth"`, "Bob"},
		{`not not age = 18`, "Ann"},
		{`17 <= age < 65`, "Ann Bob"},
		{`not 17 <= age < 65`, "Cat Dan"},
		{`spent < 0`, "Cat"},
		{`spent = -5`, "Cat"},
		{`spent > -5`, "Ann Bob"},
		{`spent >= 1234.5`, "Ann"},
		{`age in (17, 18)`, "Ann Bob"},
		{`age not in [17, 18]`, "Cat Dan"},
		{`city in ("Perth", "broome")`, "Ann Bob Cat"},
		{`city IN ["Perth"]`, "Ann Bob"},
		{`city not in ("Perth", "broome")`, "Dan"},
		{`not city in ("Perth")`, "Cat Dan"},
		{`(city = "Broome" or city = "Perth") and plan contains "GOLD"`, "Ann Bob"},
		{`city = "Broome" or city = "Perth" and age > 17`, "Ann Cat"}, // and binds closer
		{`plan starts with "gold"`, "Ann Bob"},
		{`plan begins with "gold"`, "Ann Bob"},
		{`plan startsWith "gold"`, "Ann Bob"},
		{`plan not starts with "gold"`, "Cat Dan"},
		{`plan ends with "PLUS"`, "Bob"},
		{`plan not contains "o"`, "Cat Dan"},
		{`email ends with "@example.ORG"`, "Ann Bob Cat Dan"},
		{`phone matches "^\\+6142"`, "Bob"},
		{`first_name matches "^[ab]"`, "Ann Bob"},
		{`first_name matches "(?-i)^[ab]"`, ""},
		{`phone is empty`, "Dan"},
		{`phone is not empty`, "Ann Bob Cat"},
		{`last_order is empty`, "Ann Cat"},
		{`not last_order is empty`, "Bob Dan"},
		{`joined >= "2026-02-01"`, "Bob"},
		{`joined <= "2026-02-01"`, "Ann Bob"},
		{`joined = "2026-02-01"`, "Bob"},
		{`joined in ("2026-02-01")`, "Bob"},
		{`"2026-01-01" <= joined < "2026-02-01"`, "Ann"},
		{`last_name = "o'brien"`, "Ann"},
		{`last_name = 'O\'Brien'`, "Ann"},
		{`last_name = "MÜLLER"`, "Bob"},
		{`last_name = " van der berg"`, "Cat"},
		{`last_name > "n"`, "Ann Cat"},
		{`postcode = "6000"`, "Ann"},
		{`postal_code = 6000`, "Ann"},
		{`postcode >= 6100 and postcode < 6200`, "Bob"},
		{`country = "au"`, "Ann Bob Cat Dan"},
		{"`order` = 'a-1'", "Ann"},
		{"`Last Order` is not empty", "Bob Dan"},
		{"Last_Order is not empty", "Bob Dan"},
		{`nick_name = first_name`, "Dan"},
		{`nick_name != first_name`, "Ann Bob Cat"},
		{`nick_name = "Kitty, the cat"`, "Cat"},
		{`nick_name = "age >= 18 and = in"`, ""},
		{`len(postcode) = 4`, "Ann Bob Cat"},
		{`len(last_name) > 7`, "Cat"},
		{`number(age) >= 18`, "Ann Cat"},
		{`number(spent) > number(age)`, "Ann"},
		{`lower(city) = "perth"`, "Ann Bob"},
		{`upper(trim(city)) matches "^PERTH$"`, "Ann Bob"},
		{`name = "Ann O'Brien"`, "Ann"},
		{`reference is empty`, "Ann Bob Cat Dan"},
		{"city = \"Perth\"\n  and age >= 18 // grown up", "Ann"},
	} {
		t.Run(test.where, func(t *testing.T) {
			t.Parallel()
			all := people()
			k, err := Compile(test.where, all[0].Fields.Columns.Names())
			if err != nil {
				t.Fatal(err)
			}
			var found []string
			for i := range all {
				if k.Match(&all[i]) {
					found = append(found, all[i].FirstName)
				}
			}
			if got := strings.Join(found, " "); got != test.want {
				t.Errorf("found %q, want %q", got, test.want)
			}
			if err := Check(test.where); err != nil {
				t.Errorf("without a list: %v", err)
			}
			// The one spelling is a condition too, and the same.
			again, err := Compile(k.String(), all[0].Fields.Columns.Names())
			if err != nil {
				t.Fatalf("%s: %v", k, err)
			}
			if again.String() != k.String() {
				t.Errorf("%s is spelt %s", k, again)
			}
			for i := range all {
				if k.Match(&all[i]) != again.Match(&all[i]) {
					t.Errorf("%s finds others", again)
				}
			}
		})
	}
}

// TestFaults reads what cannot be a condition.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ where, want string }{
		{``, `is empty: write a condition such as city = "Perth" and age >= 18`},
		{"  \n", `is empty: write a condition such as city = "Perth" and age >= 18`},
		{strings.Repeat("x", MaxLength+1), `the condition has 16385 characters and more than 16384 cannot be read`},
		{"city = \"\xff\"", `the condition is not valid UTF-8`},
		{`cty = "Perth"`, `at character 1: there is no field cty: did you mean city? besides phone, email`},
		{`zzzzz = "Perth"`, `at character 1: there is no field zzzzz: besides phone, email, first_name, last_name, name, reference, city, state, postcode, country and address_… the list has age, plan`},
		{`city = "Perth" and firstnam = "x"`, `at character 20: there is no field firstnam: did you mean firstname?`},
		{`city = Perth`, `at character 8: Perth is not the name of a field; if it is a text, put it in quotes: "Perth". Else there is no field perth`},
		{`city in (Perth)`, `at character 10: Perth is not the name of a field; if it is a text`},
		{`plan = true`, `at character 8: true is not the name of a field; if it is a text, put it in quotes: "true"`},
		{`city`, `at character 1: city alone is no condition: write what it is to be, such as city = "yes", or city is not empty`},
		{`city and age > 5`, `at character 1: city alone is no condition`},
		{`not city`, `at character 5: city alone is no condition`},
		{`age > 5 or 7`, `at character 12: 7 alone is no condition`},
		{`"x"`, `at character 1: "x" alone is no condition`},
		{`city = `, `at character 8: after = comes a field, a text in quotes or a number, and not the end`},
		{`city = "Perth`, `at character 8: the text that begins here has no closing quote "`},
		{`city = 'Perth`, `at character 8: the text that begins here has no closing quote '`},
		{"city = `Perth", "at character 8: the text that begins here has no closing quote `"},
		{`city = “Perth”`, `at character 8: “ is a typographic quote: write texts in straight ones`},
		{`city @ "Perth"`, `at character 6: '@' means nothing here`},
		{`phone matches "^04\d"`, `a \ in a text stands for something that it does not`},
		{`city "Perth"`, `at character 6: between city and "Perth" there is nothing that compares them`},
		{`city = "Perth" age > 5`, `at character 16: after "Perth" comes and, or, a comparison such as =, or the end, and not age`},
		{`city = "Perth" and`, `at character 19: after and comes a field, a text in quotes or a number, and not the end`},
		{`and city = "Perth"`, `at character 1: a condition begins with a field, a text in quotes, a number, not or (, and not with and`},
		{`city = = "Perth"`, `at character 8: after = comes a field, a text in quotes or a number, and not =`},
		{`city not = "Perth"`, `at character 10: after not comes a condition, and not =`},
		{`not`, `at character 4: after not comes a condition, and not the end`},
		{`(city = "Perth"`, `at character 1: the ( that begins here is never closed`},
		{`city = "Perth")`, `at character 15: ) closes a bracket that was never opened`},
		{`(city = "Perth"]`, `at character 16: ] closes the ( at character 1`},
		{`city in ["Perth")`, `at character 17: ) closes the [ at character 9`},
		{strings.Repeat("(", 101) + `city = "x"` + strings.Repeat(")", 101), `at character 101: more than 100 brackets lie within each other`},
		{`age = 1,000`, `at character 8: a comma stands only between the values of a list`},
		{`age > 1_000`, `at character 7: 1_000: write numbers in plain digits`},
		{`age > 0x10`, `at character 7: 0x10: write numbers in plain digits`},
		{`age > 1e3`, `at character 7: 1e3: write numbers in plain digits`},
		{`age > 12ab`, `at character 7: 12ab is neither a number nor the name of a field`},
		{`age = 1234567890123456`, `at character 7: 1234567890123456 has too many digits to be compared as a number`},
		{`joined > 2026-01-31`, `at character 10: nothing is calculated here: a date is written in quotes`},
		{`joined > "31/01/2026"`, `at character 10: "31/01/2026" is no date that can be compared`},
		{`joined > "2026-02-30"`, `at character 10: "2026-02-30" is no date that can be compared`},
		{`age > "18"`, `at character 7: "18" in quotes is a text, in whose order "9" comes after "18": leave the quotes out`},
		{`age + 1 > 18`, `at character 5: +: nothing is calculated here`},
		{`age > 18; age < 20`, `at character 9: ; is not known here`},
		{`age > 18 | map(#)`, `at character 10: | is not known here: write and, or`},
		{`age & 18`, `at character 5: & is not known here`},
		{`name.first = "x"`, `at character 5: . is no part of a name here`},
		{`phone[0] = "+"`, `at character 6: [ begins a list, and lists stand after in`},
		{`{"a": 1}`, `at character 1: { is not known here`},
		{`age ? 1 : 2`, `at character 5: ? is not known here`},
		{`#`, `at character 1: # is not known here`},
		{`city = b"Perth"`, `at character 8: a letter stands right before this text`},
		{`let x = 1`, `at character 5: between let and x there is nothing that compares them`},
		{`$env = "x"`, `at character 1: there is no field $env`},
		{`city like "%er%"`, `at character 6: like is not known here: write contains`},
		{`age between 18 and 65`, `at character 5: between is not known here: write it as age >= 18 and age <= 65`},
		{`city = null`, `at character 8: null is not known here: write is empty`},
		{`city is "Perth"`, `at character 6: after is comes empty or not empty; to compare, write =`},
		{`count(city) > 1`, `at character 1: there is no function count: there are lower, upper, trim, len and number`},
		{`env("HOME") = "x"`, `at character 1: there is no function env`},
		{`len() = 1`, `at character 1: len takes one value, such as len(city)`},
		{`len(city, plan) = 1`, `at character 1: len takes one value`},
		{`len("x") = 1`, `at character 5: len takes a text, such as len(city), and not "x"`},
		{`number(lower(age)) = 1`, `at character 8: number takes a field, such as number(city), and not lower(…)`},
		{`lower(age > 1) = "x"`, `lower takes a text`},
		{`lower(age) > 5`, `at character 1: lower(…) is a text, and is compared with a number`},
		{`len(city) = "4"`, `at character 13: "4" is a text, and is compared with a number: leave the quotes out`},
		{`age < plan`, `at character 7: whether age < plan as texts or as numbers is not known: write number(plan)`},
		{`1 = 1`, `at character 3: 1 and 1 are always the same: compare a field`},
		{`"a" = "b"`, `at character 5: "a" and "b" are always the same`},
		{`city = "a" = "b"`, `at character 12: = compares fields and values, and a condition stands beside it`},
		{`city = ("a", "b")`, `at character 12: a comma stands only between the values of a list`},
		{`city in "Perth"`, `at character 9: after in comes a list such as ("Perth", "Broome"), and not "Perth"`},
		{`city in`, `at character 8: after in comes a list such as ("Perth", "Broome"), and not the end`},
		{`city in ()`, `at character 9: the list is empty`},
		{`city in ("a" "b")`, `at character 14: after "a" comes`},
		{`city in ("a", 5)`, `at character 9: the list holds texts and numbers`},
		{`city in (plan)`, `at character 10: plan in the list is a field`},
		{`city in (age > 5)`, `at character 10: a list holds texts in quotes, or numbers, and not the condition`},
		{`"a" in ("a")`, `at character 1: before in stands a field, and not "a"`},
		{`len(city) in ("a")`, `at character 1: len(…) is a number, and the list holds texts`},
		{`lower(age) in (5)`, `at character 1: lower(…) is a text, and the list holds numbers`},
		{`city contains 5`, `at character 15: after contains comes a text in quotes, and not 5`},
		{`city contains plan`, `at character 15: after contains comes a text in quotes, and not plan`},
		{`"Perth" contains city`, `at character 1: before contains stands a field, and not "Perth"`},
		{`city contains " "`, `at character 15: every text has an empty one in it`},
		{`city starts with ""`, `at character 18: every text has an empty one in it`},
		{`city matches "("`, `at character 14: "(" is no pattern: missing closing )`},
		{`"" is empty`, `at character 1: a field is empty or not, and "" is none`},
		{`len(city) is empty`, `at character 1: a field is empty or not`},
		{"`` = 1", "at character 1: there is no name between these backticks"},
		{"city = \"x\" /* and", "at character 12: /* begins a remark that does not end"},
		{`age in (` + strings.Repeat("1,", 6000) + `1)`, `has more than 5000 fields, values and operators`},
	} {
		t.Run(test.where[:min(len(test.where), 30)], func(t *testing.T) {
			t.Parallel()
			_, err := Compile(test.where, []string{"age", "plan", "joined"})
			if err == nil {
				t.Fatal("is a condition")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("\n got %v\nwant %s", err, test.want)
			}
		})
	}
}

// TestUnread counts contacts, not comparisons, and only those that a condition
// came to.
func TestUnread(t *testing.T) {
	t.Parallel()
	all := people()
	k, err := Compile(`(1 <= age < 200 or age = 300 or joined > "2020-01-01") and (city = "x" or spent > 5)`, all[0].Fields.Columns.Names())
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		k.Match(&all[i])
	}
	var got []string
	for _, u := range k.Unread() {
		got = append(got, u.String())
	}
	want := []string{
		"1 contact has no number in age: no comparison of it holds for it",
		"1 contact has no date such as 2026-01-31 in joined: no comparison of it holds for it",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestOtherColumns asks about contacts of lists whose columns stand elsewhere.
func TestOtherColumns(t *testing.T) {
	t.Parallel()
	k, err := Compile(`age > 18 and plan = "gold"`, []string{"age", "plan"})
	if err != nil {
		t.Fatal(err)
	}
	one := campaign.Contact{Fields: campaign.FieldsOf(map[string]string{"age": "20", "plan": "gold"})}
	two := campaign.Contact{Fields: campaign.FieldsOf(map[string]string{"aaa": "1", "age": "20", "nnn": "", "plan": "gold"})}
	none := campaign.Contact{Fields: campaign.FieldsOf(map[string]string{"plan": "gold"})}
	short := campaign.Contact{Fields: campaign.Fields{Columns: two.Fields.Columns, Values: []string{"1"}}}
	for range 2 {
		if !k.Match(&one) || !k.Match(&two) || k.Match(&none) || k.Match(&short) || k.Match(&campaign.Contact{}) {
			t.Error("another column was read")
		}
	}
}

// TestOwnColumnBeforeAlias: a list's own column is what its name says.
func TestOwnColumnBeforeAlias(t *testing.T) {
	t.Parallel()
	c := campaign.Contact{Phone: "+61411111111", Address: campaign.Address{City: "Perth"}, Fields: campaign.FieldsOf(map[string]string{"mobile": "no"})}
	for where, want := range map[string]bool{`mobile = "no"`: true, `city = "Perth"`: true, `phone = "no"`: false} {
		k, err := Compile(where, []string{"mobile"})
		if err != nil {
			t.Fatal(err)
		}
		if k.Match(&c) != want {
			t.Errorf("%s: %v", where, !want)
		}
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]float64{"18": 18, " 18 ": 18, "18.0": 18, "-5": -5, "+5": 5, "007": 7, "0.5": 0.5, ".5": 0.5, "5.": 5, "-12345678901.25": -12345678901.25, "1234.50": 1234.5} {
		if n, ok := parseNumber(s); !ok || n != want {
			t.Errorf("%q is %v, %v", s, n, ok)
		}
	}
	for _, s := range []string{"", " ", "-", "+", ".", "-.", "1,234", "1,234.50", "12,50", "1e5", "1_000", "0x10", "NaN", "Inf", "--5", "5-", "$5", "5 %", "1 000", "1.2.3", "٥"} {
		if n, ok := parseNumber(s); ok {
			t.Errorf("%q is %v", s, n)
		}
	}
}

func TestDates(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{"2026-01-31": "2026-01-31", " 2026-01-31 ": "2026-01-31", "2026-01-31 10:30": "2026-01-31", "2026-01-31T10:30:00Z": "2026-01-31", "2024-02-29": "2024-02-29"} {
		if d, ok := parseDate(s); !ok || d != want {
			t.Errorf("%q is %q, %v", s, d, ok)
		}
	}
	for _, s := range []string{"", "2026-1-31", "2026-13-01", "2026-02-29", "2026-04-31", "2026-00-10", "2026-01-00", "2026/01/31", "31-01-2026", "2026-01-311", "20260131", "2026-01-3x"} {
		if d, ok := parseDate(s); ok {
			t.Errorf("%q is %q", s, d)
		}
	}
}
