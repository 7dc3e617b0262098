package acceptance

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/internal/services"
)

// leaks finds what must not be seen: people, as they stand in the audience of
// TestAcceptNothingLeaks or are sent to, and secrets.
type leaks struct {
	t     testing.TB
	words *regexp.Regexp
}

// none fails the test when the text holds one of the words.
func (l leaks) none(where, text string) {
	l.t.Helper()
	if text == "" {
		l.t.Errorf("%s: nothing to look at", where)
	}
	found := l.words.FindAllStringIndex(text, -1)
	for _, at := range found[:min(len(found), 3)] {
		l.t.Errorf("%s shows %q: ...%s...", where, text[at[0]:at[1]], text[max(at[0]-150, 0):min(at[1]+50, len(text))])
	}
}

// TestAcceptNothingLeaks runs campaigns full of words found nowhere else, with
// debug logging, a provider that misbehaves in every way and servers that go
// away, and looks for the words in everything that the roles log, in what
// commands print that are not asked for people, and in everything that Redis is
// given.
func TestAcceptNothingLeaks(t *testing.T) {
	const n = 10_000
	const key, redisPassword, databasePassword = "KEY-9F31-WOMBAT", "redis-numbat", "postgres-quokka"
	look := leaks{t, regexp.MustCompile(`(?i)(^|\D)6141277\d{4}(\D|$)|0412 77|zebedee|quixotic|larkspur|xylophone|quagga|wombat|numbat|quokka`)}
	w := newWorld(t, sandbox.Options{
		APIKey: key, Username: "marketing", Seed: 11, RefuseRate: 0.02, RefusedWithID: true,
		Faults: sandbox.Faults{
			TooMany: 0.1, Error503: 0.1, Error500Before: 0.05, ResetBefore: 0.1, Error500After: 0.05, ResetAfter: 0.1,
			CutJSON: 0.1, MissingRows: 0.2, Reordered: 0.2, NoReference: 0.2, Hang: 0.05, HangFor: 10 * time.Second,
			Endpoints: []string{"POST /sms/send", "POST /post/letters/send"},
		},
	})
	server := services.RedisWith(t, services.RedisOptions{Password: redisPassword})
	pg := services.PostgresAlone(t, services.PostgresOptions{})
	database, err := url.Parse(pg.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	database.User = url.UserPassword(database.User.Username(), databasePassword) // which the server does not ask for
	w.set("POSTRIDER_DATABASE_URL", database.String(), "POSTRIDER_REDIS_URL", server.URL(), "POSTRIDER_LOG_LEVEL", "debug",
		"POSTRIDER_HTTP_TIMEOUT", "3s", "POSTRIDER_LEASE", "2s", "POSTRIDER_REFUSAL_BRAKE", "100")
	address := w.returnAddress()
	rows := "Mobile,First Name,Last Name,E-mail,Address 1,Suburb,State,Postcode,Country\n" +
		"0412 77,Zebedee,Quixotic,quagga@example.com,,,,,AU\n" // too short: rejected
	for i := range n {
		rows += fmt.Sprintf("+6141277%04d,Zebedee%d,Quixotic,quagga%d@example.com,%d Larkspur Lane,Perth,WA,6000,AU\n", i, i, i, i+1)
	}
	w.file("people.csv", []byte(rows))
	w.file("nameless.csv", []byte(rows+"+61412770001,,Quixotic,quagga@example.com,1 Larkspur Lane,Perth,WA,6000,AU\n+61413000000,,Quixotic,,,,,,AU\n"))
	w.file("letter.pdf", page("letter"))

	commands := watchRedis(t, server.Addr, redisPassword)
	roles := []*process{w.role("worker"), w.role("worker"), w.role("scheduler")}
	send := func(args ...string) []string {
		return append([]string{"send", "--channel", "sms", "--to", "people.csv", "--from", "ACME", "--body", "Dear {{first_name}}, your xylophone"}, args...)
	}
	offers := []*process{
		w.run(send("--name", "sms", "--yes")...),
		w.run("send", "--channel", "letter", "--to", "people.csv", "--name", "letter", "--file", "letter.pdf", "--return-address", address, "--yes"),
	}
	for _, p := range offers {
		if p.code != 0 {
			t.Fatalf("%s: exit code %d", p.line, p.code)
		}
		// The offer itself shows one message on purpose, and shows that the words
		// are found where they are.
		if !look.words.MatchString(p.stdout.String()) {
			t.Errorf("%s: no message is shown, or it is not recognised", p.line)
		}
		if p.stderr.String() != "" {
			look.none("stderr of "+p.line, p.stderr.String())
		}
	}
	for _, c := range []string{"sms", "letter"} {
		eventually(t, patience(n), c+" settled", func() bool {
			s := w.status(c)
			return s.Accepted+s.Rejected+s.Unknown == n
		})
	}
	if s := w.provider.Stats(); len(s.Faults) < 6 {
		t.Errorf("only %v went wrong: the test shows less than it should", s.Faults)
	}
	w.nobodyTwice()

	// What is printed without a question about people, mistakes included.
	for args, code := range map[string]int{
		"campaign status sms": 0, "campaign status letter --json": 0, "campaign ls": 0, "campaign report sms": 0, "list ls": 0,
		"doctor": -1, "doctor --json": -1,
	} {
		p := w.run(strings.Fields(args)...)
		if code >= 0 && p.code != code {
			t.Errorf("%s: exit code %d, want %d: %s", p.line, p.code, code, p.stderr)
		}
		look.none(p.line, p.stdout.String()+p.stderr.String())
	}
	broken := []*process{
		w.run(send("--yes")...), // the same again
		w.run("send", "--channel", "sms", "--to", "nameless.csv", "--from", "ACME", "--body", "Dear {{first_name}}", "--yes"),
		w.with("CLICKSEND_API_KEY", "NOT-"+key).run(send("--again", "--yes")...),
	}
	look.none("what goes through Redis", commands.String())
	if !strings.Contains(commands.String(), "asynq") {
		t.Error("no command of the queue was seen on its way to Redis")
	}
	look.none("what lies in Redis", dumpRedis(t, server.Addr, redisPassword))

	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	roles[2].await("level=ERROR")
	broken = append(broken, w.run(send("--again", "--yes")...))
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := pg.Kill(); err != nil {
		t.Fatal(err)
	}
	broken = append(broken, w.run(send("--again", "--yes")...))
	for _, p := range broken {
		if p.code != 1 {
			t.Errorf("%s: exit code %d, want 1", p.line, p.code)
		}
		look.none(p.line, p.stdout.String()+p.stderr.String())
	}
	if err := pg.Restart(); err != nil {
		t.Fatal(err)
	}
	// The suppression list, last: whoever is on it is in no campaign.
	for _, c := range []struct {
		code int
		args []string
	}{
		{0, []string{"optout", "import", "people.csv"}}, {0, []string{"optout", "ls"}}, {0, []string{"optout", "history", "--json"}},
		{0, []string{"optout", "rm", "+61412770001", "--email", "quagga1@example.com", "--reason", "asked", "--yes"}},
		{2, []string{"optout", "add", "0412 77", "--country", "AU"}}, {2, []string{"optout", "add", "--email", "quagga"}},
		{2, []string{"optout", "add", "--line-1", "1 Larkspur Lane", "--name", "Zebedee Quixotic"}},
	} {
		p := w.run(c.args...)
		if p.code != c.code {
			t.Errorf("%s: exit code %d, want %d: %s", p.line, p.code, c.code, p.stderr)
		}
		look.none(c.args[0]+" "+c.args[1], p.stdout.String()+p.stderr.String())
	}
	logged := ""
	for _, p := range roles {
		p.stop()
		look.none("the log of "+p.line, p.stderr.String()+p.stdout.String())
		logged += p.stderr.String()
	}
	if !strings.Contains(logged, "nobody knows whether a batch was accepted") {
		t.Error("no unknown outcome was logged: the test shows less than it should")
	}
}

// watchRedis collects every command that the server is given from now on, until
// it goes away.
func watchRedis(t testing.TB, addr, password string) *output {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the server may have gone first
	if _, err := fmt.Fprintf(conn, "AUTH %s\r\nMONITOR\r\n", password); err != nil {
		t.Fatal(err)
	}
	seen := &output{}
	go io.Copy(seen, conn) //nolint:errcheck // it ends with the connection
	eventually(t, time.Minute, "MONITOR", func() bool { return strings.Count(seen.String(), "+OK") >= 2 })
	return seen
}

// dumpRedis is every key of a Redis with its value.
func dumpRedis(t testing.TB, addr, password string) string {
	t.Helper()
	ctx := t.Context()
	rdb := redis.NewClient(&redis.Options{Addr: addr, Password: password})
	defer rdb.Close() //nolint:errcheck // only read
	var all bytes.Buffer
	keys, err := rdb.Keys(ctx, "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		kind, err := rdb.Type(ctx, k).Result()
		if err != nil {
			t.Fatal(err)
		}
		var value any
		switch kind {
		case "string":
			value, err = rdb.Get(ctx, k).Result()
		case "hash":
			value, err = rdb.HGetAll(ctx, k).Result()
		case "list":
			value, err = rdb.LRange(ctx, k, 0, -1).Result()
		case "set":
			value, err = rdb.SMembers(ctx, k).Result()
		case "zset":
			value, err = rdb.ZRangeWithScores(ctx, k, 0, -1).Result()
		case "none": // it has expired meanwhile
		default:
			t.Fatalf("a key of type %s", kind)
		}
		if err != nil && err != redis.Nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&all, k, value)
	}
	return all.String()
}
