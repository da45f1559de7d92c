package eventfd

// Init makes e a new eventfd. Nobody else may use e yet.
func Init(e *EventFD, count uint64, semaphore bool) {
	*e = EventFD{Count: count, Generation: e.Generation + 1}
	if semaphore {
		e.Semaphore = 1
	}
}
