//go:build race

package jobs

// raceDetector says that the tests were built with it.
const raceDetector = true
