package acceptance

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

// attemptsBy counts the attempts in a PostgreSQL ledger by worker.
func attemptsBy(t testing.TB, url string) map[string]int {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // only read
	rows, err := conn.Query(t.Context(), `SELECT worker, count(*) FROM attempts GROUP BY worker`)
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]int{}
	var worker string
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&worker, &n}, func() error { by[worker] = n; return nil }); err != nil {
		t.Fatal(err)
	}
	return by
}

// unknownAttempts counts the attempts in a PostgreSQL ledger whose answer was
// lost, whatever was found out of them since.
func unknownAttempts(t testing.TB, url string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // only read
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM attempts WHERE state = 3`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// busiestAttempts is the most attempts that a PostgreSQL ledger saw begin in any
// one second, by its own clock.
func busiestAttempts(t testing.TB, url string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // only read
	err = conn.QueryRow(t.Context(), `SELECT max(n) FROM (SELECT count(*) OVER (ORDER BY started_at RANGE BETWEEN CURRENT ROW AND 999 FOLLOWING) AS n FROM attempts) AS seconds`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
