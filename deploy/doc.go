// Package deploy holds what a deployment needs beside the program, and the tests of
// the deployment's files (Dockerfile, docker-compose.yml, Makefile, .ci): they are
// read with the parsers of their own makers, for a machine without a container
// engine must find their mistakes too.
package deploy
