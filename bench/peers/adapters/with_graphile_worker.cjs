// graphile-worker, as its performance page configures it.
const { Logger, makeWorkerUtils, run, runMigrations } = require('graphile-worker')
const { URL, main } = require('./speaking.cjs')

const CONCURRENCY = 24
const BATCH = Number(process.env.BENCH_BATCH)
const logger = new Logger(() => () => {})
let utils

main({
  prepare: () => runMigrations({ connectionString: URL, logger }),
  open: async () => { utils = await makeWorkerUtils({ connectionString: URL, logger }) },
  enqueue: i => utils.addJob('noop', { i }),
  enqueueMany: numbers => utils.addJobs(numbers.map(i => ({ identifier: 'noop', payload: { i } }))),
  work: started => run({
    logger,
    taskList: { noop: payload => { started(payload.i) } },
    preset: {
      worker: {
        connectionString: URL,
        concurrentJobs: CONCURRENCY,
        maxPoolSize: CONCURRENCY + 1,
        localQueue: { size: BATCH },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0
      }
    }
  })
})
