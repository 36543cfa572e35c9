# What the R peers share: problems in, answers out; their format is described in benchmarks/_peers.py.

number <- function(x) format(as.numeric(x), digits = 17, trim = TRUE)

# build(data, xs, zs) returns the fit to be timed, run(), and read(), which makes of its result the
# named coefficients of the mean and of log(sigma), the log-likelihood and whether it converged
answer_all <- function(peer, build) {
  arguments <- commandArgs(trailingOnly = TRUE)
  directory <- arguments[1]
  repeats <- if (length(arguments) > 1) as.integer(arguments[2]) else 1L
  for (name in sub("\\.csv$", "", list.files(directory, pattern = "^[^.]+\\.csv$"))) {
    data <- read.csv(file.path(directory, paste0(name, ".csv")))
    rows <- answer(data, build, repeats)
    out <- file.path(directory, paste0(name, ".", peer, ".csv"))
    write.csv(do.call(rbind, rows), out, row.names = FALSE)
  }
}

row <- function(field, value) data.frame(field = field, value = value)

answer <- function(data, build, repeats) {
  xs <- grep("^x[0-9]+$", names(data), value = TRUE)
  zs <- grep("^z[0-9]+$", names(data), value = TRUE)
  said <- character()
  seconds <- numeric()
  got <- NULL
  failure <- tryCatch({
    model <- build(data, xs, zs)
    for (i in seq_len(repeats)) {
      start <- proc.time()[["elapsed"]]
      result <- withCallingHandlers(model$run(), warning = function(w) {
        said <<- union(said, conditionMessage(w))
        invokeRestart("muffleWarning")
      })
      seconds[i] <- proc.time()[["elapsed"]] - start
    }
    got <- model$read(result)
    NULL
  }, error = conditionMessage)
  rows <- lapply(said, function(text) row("warning", text))
  if (!is.null(failure)) return(c(rows, list(row("error", failure))))
  estimates <- setNames(c(got$mean[xs], got$dispersion[zs]), c(xs, zs))
  c(
    rows,
    lapply(seconds, function(s) row("seconds", number(s))),
    list(row("converged", as.character(got$converged)), row("llf", number(got$llf))),
    lapply(names(estimates), function(n) row(n, number(estimates[[n]])))
  )
}
