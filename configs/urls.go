package configs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// embedded is the redis_url of the in-process queue.
const embedded = "embedded"

// ErrEmbeddedRedis is what RedisOptions and AsynqRedis return when the queue is
// the embedded one, whose address only the process that runs it knows.
var ErrEmbeddedRedis = errors.New("redis_url is embedded: there is no address to connect to from outside the process that runs the engine")

// UsesPostgres reports whether the database is PostgreSQL; else it is a SQLite file.
func (c *Config) UsesPostgres() bool { return isPostgres(c.DatabaseURL.Reveal()) }

// UsesEmbeddedRedis reports whether the queue is the in-process one.
func (c *Config) UsesEmbeddedRedis() bool { return c.RedisURL.Reveal() == embedded }

// RedisOptions returns redis_url as go-redis' NewUniversalClient takes it. The
// forms are
//
//	redis://[[user]:password@]host[:6379][/db]
//	rediss://...                                     the same over TLS
//	redis-sentinel://[[user]:password@]host[:26379][,host...]?master=NAME[&db=N][&tls=true]
//	                 [&sentinel_username=...][&sentinel_password=...]
//	redis-cluster://[[user]:password@]host[:6379][,host...][?tls=true]
//
// User and password are the data servers'; %-encode what a URL does not allow.
// The error is ErrEmbeddedRedis for the embedded queue.
func (c *Config) RedisOptions() (*redis.UniversalOptions, error) {
	a, err := parseRedisURL(c.RedisURL.Reveal())
	if err != nil {
		return nil, fmt.Errorf("redis_url %w", err)
	}
	if a.kind == embedded {
		return nil, ErrEmbeddedRedis
	}
	return &redis.UniversalOptions{
		Addrs:                 a.hosts,
		Username:              a.username,
		Password:              a.password,
		DB:                    a.db,
		MasterName:            a.master,
		SentinelUsername:      a.sentinelUsername,
		SentinelPassword:      a.sentinelPassword,
		IsClusterMode:         a.kind == "redis-cluster",
		TLSConfig:             a.tls,
		ContextTimeoutEnabled: true, // a Redis that hangs must not outlast the caller's deadline
	}, nil
}

// AsynqRedis returns redis_url as asynq takes it: RedisClientOpt,
// RedisFailoverClientOpt or RedisClusterClientOpt. The error is ErrEmbeddedRedis
// for the embedded queue.
func (c *Config) AsynqRedis() (asynq.RedisConnOpt, error) {
	a, err := parseRedisURL(c.RedisURL.Reveal())
	if err != nil {
		return nil, fmt.Errorf("redis_url %w", err)
	}
	switch a.kind {
	case embedded:
		return nil, ErrEmbeddedRedis
	case "redis-sentinel":
		return asynq.RedisFailoverClientOpt{
			MasterName: a.master, SentinelAddrs: a.hosts,
			SentinelUsername: a.sentinelUsername, SentinelPassword: a.sentinelPassword,
			Username: a.username, Password: a.password, DB: a.db, TLSConfig: a.tls,
		}, nil
	case "redis-cluster":
		return asynq.RedisClusterClientOpt{
			Addrs: a.hosts, Username: a.username, Password: a.password, TLSConfig: a.tls,
		}, nil
	default:
		return asynq.RedisClientOpt{
			Addr: a.hosts[0], Username: a.username, Password: a.password, DB: a.db, TLSConfig: a.tls,
		}, nil
	}
}

// redisAddress is a redis_url taken apart.
type redisAddress struct {
	kind                               string // its scheme, or "embedded"
	hosts                              []string
	username, password                 string
	db                                 int
	master                             string
	sentinelUsername, sentinelPassword string
	tls                                *tls.Config
}

func checkRedisURL(s string) error {
	_, err := parseRedisURL(s)
	return err
}

// parseRedisURL's errors never hold the address: it may hold a password.
func parseRedisURL(s string) (redisAddress, error) {
	if s == embedded {
		return redisAddress{kind: embedded}, nil
	}
	scheme, _, ok := strings.Cut(s, "://")
	defaultPorts := map[string]string{"redis": "6379", "rediss": "6379", "redis-sentinel": "26379", "redis-cluster": "6379"}
	port, known := defaultPorts[scheme]
	if !ok || !known {
		return redisAddress{}, errors.New("is not an address of a Redis: expected embedded, redis://host:6379/0, rediss://..., " +
			"redis-sentinel://host:26379,host:26379?master=NAME or redis-cluster://host:6379,host:6379")
	}
	hosts, u, err := splitHosts(s)
	if err != nil {
		return redisAddress{}, err
	}
	a := redisAddress{kind: scheme}
	if a.hosts, err = withPorts(hosts, port); err != nil {
		return redisAddress{}, err
	}
	a.username = u.User.Username()
	a.password, _ = u.User.Password()
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return redisAddress{}, errors.New("has a part after ? that cannot be read: %-encode its special characters")
	}

	allowed := map[string][]string{
		"redis-sentinel": {"master", "db", "tls", "sentinel_username", "sentinel_password"},
		"redis-cluster":  {"tls"},
	}[scheme]
	for _, name := range sortedKeys(query) {
		if !slices.Contains(allowed, name) {
			return redisAddress{}, fmt.Errorf("has an option %q that %s:// does not know%s", name, scheme, optionList(allowed))
		}
	}
	database := strings.Trim(u.Path, "/")
	multiple := scheme == "redis-sentinel" || scheme == "redis-cluster"
	switch {
	case multiple && database != "":
		return redisAddress{}, fmt.Errorf("has something after the hosts: %s:// takes options only, after a ?", scheme)
	case !multiple && len(hosts) > 1:
		return redisAddress{}, fmt.Errorf("names several hosts, which takes redis-sentinel:// or redis-cluster://")
	case multiple:
		database = query.Get("db")
	}
	if database != "" {
		if a.db, err = strconv.Atoi(database); err != nil || a.db < 0 {
			return redisAddress{}, errors.New("has a database that is not a number such as 0")
		}
	}
	if scheme == "redis-sentinel" {
		a.master = query.Get("master")
		if a.master == "" {
			return redisAddress{}, errors.New("lacks the name of the master: expected redis-sentinel://host:26379,host:26379?master=NAME")
		}
		a.sentinelUsername, a.sentinelPassword = query.Get("sentinel_username"), query.Get("sentinel_password")
	}
	secure := scheme == "rediss"
	if t := query.Get("tls"); t != "" {
		if err := setBool(&secure, t); err != nil {
			return redisAddress{}, errors.New("has a tls option that is neither true nor false")
		}
	}
	if secure {
		a.tls = &tls.Config{MinVersion: tls.VersionTLS12}
		if !multiple { // among several hosts each is checked by its own name
			a.tls.ServerName, _, _ = net.SplitHostPort(a.hosts[0])
		}
	}
	return a, nil
}

func optionList(allowed []string) string {
	if len(allowed) == 0 {
		return ": it takes none"
	}
	return ": it takes " + strings.Join(allowed, ", ")
}

func isPostgres(s string) bool {
	return strings.HasPrefix(s, "postgres://") || strings.HasPrefix(s, "postgresql://")
}

func checkDatabaseURL(s string) error {
	if isPostgres(s) {
		_, u, err := splitHosts(s)
		if err != nil {
			return err
		}
		if strings.Trim(u.Path, "/") == "" {
			return errors.New("names no database: expected postgres://user:password@host:5432/database")
		}
		return nil
	}
	if scheme, rest, ok := strings.Cut(s, ":"); ok && (strings.HasPrefix(rest, "//") || scheme == "file" || scheme == "sqlite" || scheme == "") {
		return errors.New("is neither the path of a SQLite file nor a postgres:// address; write the path alone, such as /var/lib/postrider/postrider.db")
	}
	if strings.HasSuffix(s, "/") {
		return errors.New("is a folder: expected the path of a file in it, such as postrider.db")
	}
	return nil
}

// splitHosts parses a URL that may name several hosts, which net/url does not
// allow. The URL it returns names none. Its errors do not hold the URL.
func splitHosts(s string) (hosts []string, u *url.URL, err error) {
	scheme, rest, _ := strings.Cut(s, "://")
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority, after := rest[:end], rest[end:]
	user := ""
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		user, authority = authority[:i+1], authority[i+1:]
	}
	u, err = url.Parse(scheme + "://" + user + "host" + after)
	if err != nil || u.Fragment != "" {
		return nil, nil, errors.New("cannot be read as a URL: %-encode special characters of the password, such as %40 for @ and %23 for #")
	}
	hosts = strings.Split(authority, ",")
	if slices.Contains(hosts, "") {
		return nil, nil, fmt.Errorf("lacks a host: expected %s://host:port", scheme)
	}
	return hosts, u, nil
}

// withPorts gives every host the default port that names none.
func withPorts(hosts []string, port string) ([]string, error) {
	var all []string
	for _, h := range hosts {
		u, err := url.Parse("//" + h)
		if err != nil || u.Hostname() == "" || u.Path != "" {
			return nil, errors.New("has a host that cannot be read: expected host:port, an IPv6 address in brackets")
		}
		p := u.Port()
		if p == "" {
			p = port
		}
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return nil, errors.New("has a port that is not a number from 1 to 65535")
		}
		all = append(all, net.JoinHostPort(u.Hostname(), p))
	}
	return all, nil
}

// redactURL hides user names' passwords and password options of an address, and
// leaves a path or "embedded" as it is.
func redactURL(s string) string {
	scheme, _, ok := strings.Cut(s, "://")
	if !ok {
		return s
	}
	hosts, u, err := splitHosts(s)
	if err != nil {
		return scheme + "://" + hidden
	}
	shown := scheme + "://"
	if u.User != nil {
		shown += u.User.Username()
		if _, has := u.User.Password(); has {
			shown += ":" + hidden
		}
		shown += "@"
	}
	shown += strings.Join(hosts, ",") + u.EscapedPath()
	if u.RawQuery != "" {
		var options []string
		for part := range strings.SplitSeq(u.RawQuery, "&") {
			name, value, _ := strings.Cut(part, "=")
			if strings.Contains(strings.ToLower(name), "pass") {
				value = hidden
			}
			options = append(options, name+"="+value)
		}
		shown += "?" + strings.Join(options, "&")
	}
	return shown
}
