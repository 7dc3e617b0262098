// Package services starts the real servers that tests and benchmarks speak to:
// Redis and PostgreSQL, on 127.0.0.1, on free ports, in folders of their own.
//
// A fake can hide a bug that the real server shows, so the suites run against
// the servers themselves. They can also be killed, restarted and paused, which
// is how the suites play a dependency that died.
//
// A test package that uses them says so once:
//
//	func TestMain(m *testing.M) { services.Main(m, services.NoLeaks()) }
//
// and then asks for what it needs:
//
//	url := services.Postgres(t)  // a fresh, empty database
//	r := services.Redis(t)       // a fresh Redis server
//
// A server that is not installed fails the test with one line that says what to
// install; nothing is ever skipped. Servers end with the program that started
// them, even when it is killed (on Linux; elsewhere only when it ends by itself).
package services
