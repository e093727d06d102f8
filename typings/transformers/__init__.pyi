# What slonik and its benchmarks import from the root of Transformers, by where it is defined. The real root imports the
# four hundred families, which take mypy a third of its time. A name that is missing here is an error of mypy: add it.
from transformers import utils as utils
from transformers.cache_utils import DynamicCache as DynamicCache
from transformers.cache_utils import EncoderDecoderCache as EncoderDecoderCache
from transformers.configuration_utils import PreTrainedConfig as PreTrainedConfig
from transformers.configuration_utils import PretrainedConfig as PretrainedConfig
from transformers.data.data_collator import DataCollatorForLanguageModeling as DataCollatorForLanguageModeling
from transformers.masking_utils import AttentionMaskInterface as AttentionMaskInterface
from transformers.modeling_utils import AttentionInterface as AttentionInterface
from transformers.modeling_utils import PreTrainedModel as PreTrainedModel
from transformers.models.auto.configuration_auto import AutoConfig as AutoConfig
from transformers.models.auto.modeling_auto import AutoModel as AutoModel
from transformers.models.auto.modeling_auto import AutoModelForCausalLM as AutoModelForCausalLM
from transformers.models.auto.modeling_auto import AutoModelForMaskedLM as AutoModelForMaskedLM
from transformers.models.auto.modeling_auto import AutoModelForMultipleChoice as AutoModelForMultipleChoice
from transformers.models.auto.modeling_auto import AutoModelForQuestionAnswering as AutoModelForQuestionAnswering
from transformers.models.auto.modeling_auto import AutoModelForSeq2SeqLM as AutoModelForSeq2SeqLM
from transformers.models.auto.modeling_auto import AutoModelForSequenceClassification as AutoModelForSequenceClassification
from transformers.models.auto.modeling_auto import AutoModelForTokenClassification as AutoModelForTokenClassification
from transformers.models.auto.tokenization_auto import AutoTokenizer as AutoTokenizer
from transformers.models.bert.configuration_bert import BertConfig as BertConfig
from transformers.models.bert.modeling_bert import BertForMaskedLM as BertForMaskedLM
from transformers.models.bert.modeling_bert import BertForPreTraining as BertForPreTraining
from transformers.models.bert.modeling_bert import BertModel as BertModel
from transformers.models.deberta_v2.configuration_deberta_v2 import DebertaV2Config as DebertaV2Config
from transformers.models.deberta_v2.modeling_deberta_v2 import DebertaV2ForMaskedLM as DebertaV2ForMaskedLM
from transformers.models.gpt2.configuration_gpt2 import GPT2Config as GPT2Config
from transformers.models.gpt2.modeling_gpt2 import GPT2LMHeadModel as GPT2LMHeadModel
from transformers.models.modernbert.configuration_modernbert import ModernBertConfig as ModernBertConfig
from transformers.models.modernbert.modeling_modernbert import ModernBertForMaskedLM as ModernBertForMaskedLM
from transformers.models.roberta.configuration_roberta import RobertaConfig as RobertaConfig
from transformers.models.roberta.modeling_roberta import RobertaForMaskedLM as RobertaForMaskedLM
from transformers.models.t5.configuration_t5 import T5Config as T5Config
from transformers.models.t5.modeling_t5 import T5ForConditionalGeneration as T5ForConditionalGeneration
from transformers.tokenization_utils_tokenizers import PreTrainedTokenizerFast as PreTrainedTokenizerFast
from transformers.trainer import Trainer as Trainer
from transformers.trainer_callback import TrainerCallback as TrainerCallback
from transformers.training_args import TrainingArguments as TrainingArguments

__version__: str
